/* rva_message - the live voice message as it goes over the wire: WebSocket header, mask, JSON and base64 in one pass.
 *
 * The frame is that of RFC 6455, section 5.2, from a client: FIN, text, masked. Its payload is the JSON text
 * `prefix` + base64(pcm) + `suffix`. Any thread; no allocation, no lock, no system call.
 */
#ifndef RVA_MESSAGE_H
#define RVA_MESSAGE_H

#include "core/rva.h"

/* --- cdef begin --- */

/* Bytes of the whole frame for these lengths: what rva_message_encode writes. */
size_t rva_message_bytes(size_t prefix_bytes, size_t pcm_bytes, size_t suffix_bytes);

/* Writes the frame to `frame`, which has room for rva_message_bytes(), and returns its length. `mask` are the 4 bytes
 * of the masking key, which must be new and unpredictable for each frame (RFC 6455, section 5.3). */
size_t rva_message_encode(uint8_t *frame, const uint8_t *prefix, size_t prefix_bytes, const uint8_t *pcm,
                          size_t pcm_bytes, const uint8_t *suffix, size_t suffix_bytes, const uint8_t *mask);

/* --- cdef end --- */

#endif
