/* rva_python - the converter's call, written for the interpreter by hand: cffi's own way to a buffer and its checks in Python
 * take longer than 10 ms of sound take to convert. Included by the module that cffi makes, after Python.h; stable ABI.
 *
 * In Python: _core.feed(chain, most_bytes, channels, items, buffer), where `chain` is the address of an rva_chain, returns
 * what rva_chain_feed returns; or a negative number, and has done nothing, when the buffer is more than `most_bytes`, not
 * contiguous, not of one of the item types whose letters (of the struct module) are in the bytes `items`, or neither one-
 * dimensional nor of the shape (n, channels). The interpreter's lock is released while the sound is converted. */
#ifndef RVA_PYTHON_H
#define RVA_PYTHON_H

#include <string.h>

#include "rva.h"

static int rva_python_is_plain(const Py_buffer *view, Py_ssize_t most_bytes, Py_ssize_t channels, const char *items) {
    const char *format = view->format ? view->format : "B";
    if (view->len > most_bytes || !format[0] || format[1] || !strchr(items, format[0])) return 0;
    return view->ndim == 1 || (view->ndim == 2 && view->shape[1] == channels && view->itemsize > 1);
}

static PyObject *rva_python_feed(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    if (count != 5) return PyErr_Format(PyExc_TypeError, "feed() takes 5 arguments, %zd were given", count);
    rva_chain *chain = PyLong_AsVoidPtr(arguments[0]);
    const Py_ssize_t most_bytes = PyLong_AsSsize_t(arguments[1]), channels = PyLong_AsSsize_t(arguments[2]);
    const char *items = PyBytes_AsString(arguments[3]);
    if (!chain || !items || PyErr_Occurred()) return PyErr_Occurred() ? NULL : PyLong_FromLong(-1);
    Py_buffer view;
    if (PyObject_GetBuffer(arguments[4], &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)) {
        if (!PyErr_ExceptionMatches(PyExc_BufferError) && !PyErr_ExceptionMatches(PyExc_ValueError)) return NULL;
        PyErr_Clear(); /* numpy raises ValueError for an array that is not contiguous */
        return PyLong_FromLong(-1);
    }
    int waiting = -1;
    if (rva_python_is_plain(&view, most_bytes, channels, items)) {
        Py_BEGIN_ALLOW_THREADS
        waiting = rva_chain_feed(chain, view.buf, (size_t)view.len);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&view);
    return PyLong_FromLong(waiting);
}

/* cffi has no way to add a function of one's own to its module: this one does, once, at import. 0 on success. */
static int rva_python_install(void) {
    static PyMethodDef methods[] = {{"feed", (PyCFunction)(void (*)(void))rva_python_feed, METH_FASTCALL, NULL}, {0}};
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject *module = PyImport_AddModule("ravatar_audio._core");
    const int code = module ? PyModule_AddFunctions(module, methods) : -1;
    if (code) PyErr_Clear();
    PyGILState_Release(state);
    return code;
}

#endif
