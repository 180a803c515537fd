/* rva_python_message - the live voice message for the interpreter, written by hand as rva_python.h is, and for its reason: the
 * message is made once in 256 ms with cold caches, where each object on the way is fetched from memory. In Python:
 *
 * _core.encoder(prefix, suffix, pcm_bytes, random): a function that takes a buffer of `pcm_bytes` and returns the whole frame
 * (rva_message_encode) as a memoryview, the same one each time, valid until the next call; ValueError for another length.
 * `prefix` and `suffix` are bytes; `random(n)` returns n bytes that nobody can predict, for the masks of many frames. */
#ifndef RVA_PYTHON_MESSAGE_H
#define RVA_PYTHON_MESSAGE_H

#include "wire/rva_message.h"

#define RVA_PYTHON_ENCODER "ravatar_audio._core.encoder"
#define RVA_PYTHON_MASKS_BYTES (4 * 64) /* fetched at a time */

typedef struct {
    PyObject *prefix, *suffix, *random, *view, *masks;
    Py_ssize_t masks_used_bytes;
    size_t pcm_bytes;
    uint8_t *frame; /* what the view shows */
} rva_python_encoder;

static void rva_python_encoder_free(PyObject *capsule) {
    rva_python_encoder *encoder = PyCapsule_GetPointer(capsule, RVA_PYTHON_ENCODER);
    Py_XDECREF(encoder->prefix);
    Py_XDECREF(encoder->suffix);
    Py_XDECREF(encoder->random);
    Py_XDECREF(encoder->view);
    Py_XDECREF(encoder->masks);
    PyMem_Free(encoder);
}

/* A mask that was not used before; NULL with an exception. */
static const uint8_t *rva_python_new_mask(rva_python_encoder *encoder) {
    if (!encoder->masks || encoder->masks_used_bytes == RVA_PYTHON_MASKS_BYTES) {
        PyObject *fresh = PyObject_CallFunction(encoder->random, "i", RVA_PYTHON_MASKS_BYTES);
        if (fresh && (!PyBytes_Check(fresh) || PyBytes_Size(fresh) != RVA_PYTHON_MASKS_BYTES)) {
            Py_CLEAR(fresh);
            PyErr_SetString(PyExc_TypeError, "random() must return as many bytes as it is asked for");
        }
        if (!fresh) return NULL;
        Py_XDECREF(encoder->masks);
        encoder->masks = fresh;
        encoder->masks_used_bytes = 0;
    }
    const char *mask = PyBytes_AsString(encoder->masks) + encoder->masks_used_bytes;
    encoder->masks_used_bytes += 4;
    return (const uint8_t *)mask;
}

static PyObject *rva_python_encode(PyObject *self, PyObject *pcm) {
    rva_python_encoder *encoder = PyCapsule_GetPointer(self, RVA_PYTHON_ENCODER);
    Py_buffer view;
    if (!encoder || PyObject_GetBuffer(pcm, &view, PyBUF_SIMPLE)) return NULL;
    PyObject *made = NULL;
    const uint8_t *mask;
    if ((size_t)view.len != encoder->pcm_bytes)
        PyErr_Format(PyExc_ValueError, "%zd bytes of sound; a live message has %zu", view.len, encoder->pcm_bytes);
    else if ((mask = rva_python_new_mask(encoder))) {
        rva_message_encode(encoder->frame, (const uint8_t *)PyBytes_AsString(encoder->prefix),
                           (size_t)PyBytes_Size(encoder->prefix), view.buf, encoder->pcm_bytes,
                           (const uint8_t *)PyBytes_AsString(encoder->suffix), (size_t)PyBytes_Size(encoder->suffix), mask);
        made = Py_NewRef(encoder->view);
    }
    PyBuffer_Release(&view);
    return made;
}

static PyObject *rva_python_make_encoder(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    static PyMethodDef method = {"encode", rva_python_encode, METH_O, NULL};
    (void)module;
    if (count != 4) return PyErr_Format(PyExc_TypeError, "encoder() takes 4 arguments, %zd were given", count);
    if (!PyBytes_Check(arguments[0]) || !PyBytes_Check(arguments[1]))
        return PyErr_Format(PyExc_TypeError, "prefix and suffix are bytes");
    const size_t pcm_bytes = PyLong_AsSize_t(arguments[2]);
    if (PyErr_Occurred()) return NULL;
    rva_python_encoder *encoder = PyMem_Calloc(1, sizeof *encoder);
    if (!encoder) return PyErr_NoMemory();
    PyObject *capsule = PyCapsule_New(encoder, RVA_PYTHON_ENCODER, rva_python_encoder_free);
    if (!capsule) {
        PyMem_Free(encoder);
        return NULL;
    }
    encoder->prefix = Py_NewRef(arguments[0]);
    encoder->suffix = Py_NewRef(arguments[1]);
    encoder->random = Py_NewRef(arguments[3]);
    encoder->pcm_bytes = pcm_bytes;
    const size_t bytes =
        rva_message_bytes((size_t)PyBytes_Size(arguments[0]), pcm_bytes, (size_t)PyBytes_Size(arguments[1]));
    PyObject *frame = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)bytes);
    encoder->view = frame ? PyMemoryView_FromObject(frame) : NULL; /* keeps it, and keeps it where it is */
    encoder->frame = frame ? (uint8_t *)PyByteArray_AsString(frame) : NULL;
    Py_XDECREF(frame);
    PyObject *function = encoder->view ? PyCFunction_NewEx(&method, capsule, NULL) : NULL;
    Py_DECREF(capsule);
    return function;
}

#endif
