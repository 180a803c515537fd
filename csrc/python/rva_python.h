/* rva_python - what a converter and a consumer call, written for the interpreter by hand: cffi's own way to a buffer, its
 * copies of a frame's fields and checks in Python take longer than 10 ms of sound take to convert. Included by the module that
 * cffi makes, after Python.h; stable ABI. `chain` is the address of an rva_chain, 0 when it is closed; `Frame` the class whose
 * fields frames are given to, in the order of ravatar_audio.frames.Frame. In Python:
 *
 * _core.take(chain, Frame, first_seq, first_position): the oldest frame, copied out of the ring, or None; its number and
 * position are counted from these. ValueError when the chain is closed.
 *
 * _core.processor(chain, Frame, most_bytes, channels, items): a function that takes a buffer, feeds it to the chain
 * (rva_chain_feed) and returns the list of the frames that are complete; None, having done nothing, when the buffer is more
 * than `most_bytes`, not a whole number of samples, not contiguous, not of one of the item types whose letters (of the struct
 * module) are in the bytes `items`, or neither one-dimensional nor of the shape (n, channels). The interpreter's lock is
 * released while the sound is converted. Not to be called once the chain is closed. */
#ifndef RVA_PYTHON_H
#define RVA_PYTHON_H

#include <string.h>

#include "core/rva.h"
#include "python/rva_python_message.h"

#define RVA_PYTHON_PROCESSOR "ravatar_audio._core.processor"

typedef struct {
    rva_chain *chain;
    PyObject *frame_class;
    Py_ssize_t most_bytes, channels;
    PyObject *items; /* keeps the letters */
    const char *letters;
} rva_python_processor;

static PyObject *rva_python_frame(rva_chain *chain, PyObject *frame_class, unsigned long long first_seq,
                                  unsigned long long first_position) {
    const rva_frame *raw = rva_chain_peek(chain);
    if (!raw) return Py_NewRef(Py_None);
    PyObject *fields = Py_BuildValue(
        "(NKKIddKKNNIIN)", PyBytes_FromStringAndSize((const char *)raw->pcm, sizeof raw->pcm), first_seq + raw->seq,
        first_position + raw->position_samples, raw->length_samples, (double)raw->captured_ns * 1e-9,
        (double)raw->finished_ns * 1e-9, (unsigned long long)raw->ring_lost_samples,
        (unsigned long long)raw->device_lost_samples, PyBool_FromLong(raw->flags & RVA_FLAG_DISCONTINUITY),
        PyBool_FromLong(raw->flags & RVA_FLAG_FLUSHED), raw->clipped, raw->peak,
        PyBytes_FromStringAndSize((const char *)raw->hops, sizeof raw->hops));
    PyObject *frame = fields ? PyObject_CallObject(frame_class, fields) : NULL;
    Py_XDECREF(fields);
    if (frame) rva_chain_advance(chain);
    return frame;
}

static PyObject *rva_python_take(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    if (count != 4) return PyErr_Format(PyExc_TypeError, "take() takes 4 arguments, %zd were given", count);
    rva_chain *chain = PyLong_AsVoidPtr(arguments[0]);
    const unsigned long long first_seq = PyLong_AsUnsignedLongLong(arguments[2]);
    const unsigned long long first_position = PyLong_AsUnsignedLongLong(arguments[3]);
    if (PyErr_Occurred()) return NULL;
    if (!chain) return PyErr_Format(PyExc_ValueError, "the chain is closed");
    return rva_python_frame(chain, arguments[1], first_seq, first_position);
}

static int rva_python_is_plain(const rva_python_processor *processor, const Py_buffer *view) {
    const char *format = view->format ? view->format : "B";
    if (view->len > processor->most_bytes || !format[0] || format[1] || !strchr(processor->letters, format[0])) return 0;
    return view->ndim == 1 || (view->ndim == 2 && view->shape[1] == processor->channels && view->itemsize > 1);
}

/* `count` frames, or fewer when one cannot be made. */
static PyObject *rva_python_frames(const rva_python_processor *processor, int count) {
    PyObject *frames = PyList_New(0);
    for (; frames && count > 0; count--) {
        PyObject *frame = rva_python_frame(processor->chain, processor->frame_class, 0, 0);
        if (!frame || PyList_Append(frames, frame)) Py_CLEAR(frames);
        Py_XDECREF(frame);
    }
    return frames;
}

static PyObject *rva_python_process(PyObject *self, PyObject *buffer) {
    const rva_python_processor *processor = PyCapsule_GetPointer(self, RVA_PYTHON_PROCESSOR);
    if (!processor) return NULL;
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)) {
        if (!PyErr_ExceptionMatches(PyExc_BufferError) && !PyErr_ExceptionMatches(PyExc_ValueError)) return NULL;
        PyErr_Clear(); /* numpy raises ValueError for an array that is not contiguous */
        return Py_NewRef(Py_None);
    }
    int waiting = -1;
    if (rva_python_is_plain(processor, &view)) {
        Py_BEGIN_ALLOW_THREADS
        waiting = rva_chain_feed(processor->chain, view.buf, (size_t)view.len);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&view);
    return waiting < 0 ? Py_NewRef(Py_None) : rva_python_frames(processor, waiting);
}

static void rva_python_processor_free(PyObject *capsule) {
    rva_python_processor *processor = PyCapsule_GetPointer(capsule, RVA_PYTHON_PROCESSOR);
    Py_DECREF(processor->frame_class);
    Py_DECREF(processor->items);
    PyMem_Free(processor);
}

static PyObject *rva_python_make_processor(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    static PyMethodDef method = {"process", rva_python_process, METH_O, NULL};
    (void)module;
    if (count != 5) return PyErr_Format(PyExc_TypeError, "processor() takes 5 arguments, %zd were given", count);
    const rva_python_processor made = {
        .chain = PyLong_AsVoidPtr(arguments[0]),
        .frame_class = arguments[1],
        .most_bytes = PyLong_AsSsize_t(arguments[2]),
        .channels = PyLong_AsSsize_t(arguments[3]),
        .items = arguments[4],
        .letters = PyBytes_AsString(arguments[4]),
    };
    if (PyErr_Occurred()) return NULL;
    if (!made.chain) return PyErr_Format(PyExc_ValueError, "the chain is closed");
    rva_python_processor *processor = PyMem_Malloc(sizeof *processor);
    if (!processor) return PyErr_NoMemory();
    *processor = made;
    PyObject *capsule = PyCapsule_New(processor, RVA_PYTHON_PROCESSOR, rva_python_processor_free);
    if (!capsule) {
        PyMem_Free(processor);
        return NULL;
    }
    Py_INCREF(processor->frame_class);
    Py_INCREF(processor->items);
    PyObject *function = PyCFunction_NewEx(&method, capsule, NULL);
    Py_DECREF(capsule);
    return function;
}

/* cffi has no way to add functions of one's own to its module: this one does, once, at import. 0 on success. */
static int rva_python_install(void) {
    static PyMethodDef methods[] = {
        {"take", (PyCFunction)(void (*)(void))rva_python_take, METH_FASTCALL, NULL},
        {"processor", (PyCFunction)(void (*)(void))rva_python_make_processor, METH_FASTCALL, NULL},
        {"encoder", (PyCFunction)(void (*)(void))rva_python_make_encoder, METH_FASTCALL, NULL},
        {0},
    };
    const PyGILState_STATE state = PyGILState_Ensure();
    PyObject *module = PyImport_AddModule("ravatar_audio._core");
    const int code = module ? PyModule_AddFunctions(module, methods) : -1;
    if (code) PyErr_Clear();
    PyGILState_Release(state);
    return code;
}

#endif
