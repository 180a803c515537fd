#include "wire/rva_message.h"

#include <stdbool.h>
#include <string.h>

static const char alphabet[64] = {
    'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V',
    'W', 'X', 'Y', 'Z', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r',
    's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', '/',
};

static size_t base64_bytes(size_t bytes) {
    return (bytes + 2) / 3 * 4;
}

static size_t header_bytes(size_t payload_bytes) {
    return 2 + (payload_bytes < 126 ? 0 : payload_bytes < 65536 ? 2 : 8) + 4;
}

/* Text masked as the payload's bytes from `at` on; returns where it ends. */
static size_t write_text(uint8_t *payload, size_t at, const uint8_t *text, size_t bytes, const uint8_t *mask) {
    for (size_t i = 0; i < bytes; i++)
        payload[at + i] = text[i] ^ mask[(at + i) & 3];
    return at + bytes;
}

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

static bool has_vectors(void) {
    return __builtin_cpu_supports("ssse3");
}

/* Twelve bytes to sixteen characters at a time, by W. Mula's method ("Base64 encoding with SIMD instructions"): shuffle
 * each three bytes into a 32-bit lane, move the four sextets to bytes of their own by two multiplications, and add to
 * each the distance between its value and its character, which is looked up by range. Reads 16 bytes for 12. */
__attribute__((target("ssse3"))) static size_t write_groups(uint8_t *out, const uint8_t *data, size_t bytes,
                                                            uint32_t turned) {
    const __m128i spread = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    const __m128i distances = _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                                            '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
    const __m128i mask = _mm_set1_epi32((int)turned);
    size_t done = 0;
    for (; done + 16 <= bytes; done += 12, out += 16) {
        __m128i in = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + done)), spread);
        __m128i high = _mm_mulhi_epu16(_mm_and_si128(in, _mm_set1_epi32(0x0fc0fc00)), _mm_set1_epi32(0x04000040));
        __m128i low = _mm_mullo_epi16(_mm_and_si128(in, _mm_set1_epi32(0x003f03f0)), _mm_set1_epi32(0x01000010));
        __m128i sextets = _mm_or_si128(high, low);
        __m128i range = _mm_subs_epu8(sextets, _mm_set1_epi8(51));
        __m128i is_upper = _mm_cmpgt_epi8(_mm_set1_epi8(26), sextets);
        range = _mm_or_si128(range, _mm_and_si128(is_upper, _mm_set1_epi8(13)));
        __m128i text = _mm_add_epi8(sextets, _mm_shuffle_epi8(distances, range));
        _mm_storeu_si128((__m128i *)(void *)out, _mm_xor_si128(text, mask));
    }
    return done;
}

#elif defined(__aarch64__) && defined(__ARM_NEON)

#include <arm_neon.h>

static bool has_vectors(void) {
    return true;
}

/* 48 bytes to 64 characters at a time: the loads take every third byte apart, the table holds the whole alphabet. */
static size_t write_groups(uint8_t *out, const uint8_t *data, size_t bytes, uint32_t turned) {
    const uint8x16x4_t table = vld1q_u8_x4((const uint8_t *)alphabet);
    uint8_t key[4];
    memcpy(key, &turned, 4);
    size_t done = 0;
    for (; done + 48 <= bytes; done += 48, out += 64) {
        uint8x16x3_t in = vld3q_u8(data + done);
        uint8x16x4_t text;
        text.val[0] = vshrq_n_u8(in.val[0], 2);
        text.val[1] = vandq_u8(vsliq_n_u8(vshrq_n_u8(in.val[1], 4), in.val[0], 4), vdupq_n_u8(63));
        text.val[2] = vandq_u8(vsliq_n_u8(vshrq_n_u8(in.val[2], 6), in.val[1], 2), vdupq_n_u8(63));
        text.val[3] = vandq_u8(in.val[2], vdupq_n_u8(63));
        for (int i = 0; i < 4; i++)
            text.val[i] = veorq_u8(vqtbl4q_u8(table, text.val[i]), vdupq_n_u8(key[i]));
        vst4q_u8(out, text);
    }
    return done;
}

#else

static bool has_vectors(void) {
    return false;
}

static size_t write_groups(uint8_t *out, const uint8_t *data, size_t bytes, uint32_t turned) {
    (void)out, (void)data, (void)bytes, (void)turned;
    return 0;
}

#endif

/* As write_text, for the base64 of `data`. A group of four characters always meets the mask in the same phase, so the
 * mask is turned once. */
static size_t write_base64(uint8_t *payload, size_t at, const uint8_t *data, size_t bytes, const uint8_t *mask) {
    const uint8_t key[4] = {mask[at & 3], mask[(at + 1) & 3], mask[(at + 2) & 3], mask[(at + 3) & 3]};
    uint32_t turned;
    memcpy(&turned, key, 4);
    size_t i = has_vectors() ? write_groups(payload + at, data, bytes, turned) : 0;
    uint8_t *out = payload + at + i / 3 * 4;
    for (; i < bytes; i += 3, out += 4) {
        size_t left = bytes - i;
        uint32_t group = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                         (left > 2 ? data[i + 2] : 0);
        out[0] = (uint8_t)alphabet[group >> 18] ^ key[0];
        out[1] = (uint8_t)alphabet[group >> 12 & 63] ^ key[1];
        out[2] = (uint8_t)(left > 1 ? alphabet[group >> 6 & 63] : '=') ^ key[2];
        out[3] = (uint8_t)(left > 2 ? alphabet[group & 63] : '=') ^ key[3];
    }
    return at + base64_bytes(bytes);
}

size_t rva_message_bytes(size_t prefix_bytes, size_t pcm_bytes, size_t suffix_bytes) {
    size_t payload_bytes = prefix_bytes + base64_bytes(pcm_bytes) + suffix_bytes;
    return header_bytes(payload_bytes) + payload_bytes;
}

size_t rva_message_encode(uint8_t *frame, const uint8_t *prefix, size_t prefix_bytes, const uint8_t *pcm,
                          size_t pcm_bytes, const uint8_t *suffix, size_t suffix_bytes, const uint8_t *mask) {
    size_t payload_bytes = prefix_bytes + base64_bytes(pcm_bytes) + suffix_bytes;
    size_t header = header_bytes(payload_bytes);
    uint8_t key[4];
    memcpy(key, mask, 4);

    frame[0] = 0x81; /* FIN, text */
    int length_bytes = (int)header - 6;
    frame[1] = (uint8_t)(0x80 | (length_bytes == 0 ? payload_bytes : length_bytes == 2 ? 126 : 127));
    for (int i = 0; i < length_bytes; i++)
        frame[2 + i] = (uint8_t)((uint64_t)payload_bytes >> 8 * (length_bytes - 1 - i));
    memcpy(frame + header - 4, key, 4);

    uint8_t *payload = frame + header;
    size_t at = write_text(payload, 0, prefix, prefix_bytes, key);
    at = write_base64(payload, at, pcm, pcm_bytes, key);
    write_text(payload, at, suffix, suffix_bytes, key);
    return header + payload_bytes;
}
