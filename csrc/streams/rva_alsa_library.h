/* rva_alsa_library - libasound's functions that we use, by dlsym. Internal.
 *
 * Types and values are declared here, as the headers of libasound are not needed to build; they are its stable ABI
 * (alsa/pcm.h). */
#ifndef RVA_ALSA_LIBRARY_H
#define RVA_ALSA_LIBRARY_H

#include <poll.h>
#include <time.h>

typedef struct snd_pcm snd_pcm;
typedef struct snd_pcm_hw_params snd_pcm_hw_params;
typedef struct snd_pcm_sw_params snd_pcm_sw_params;
typedef unsigned long snd_uframes;
typedef long snd_sframes;

enum { SND_STREAM_CAPTURE = 1, SND_NONBLOCK = 1, SND_ACCESS_RW_INTERLEAVED = 3 };
enum { SND_TYPE_HW = 0 };
enum { SND_STATE_XRUN = 4, SND_STATE_SUSPENDED = 7, SND_STATE_DISCONNECTED = 8 };
enum { SND_TSTAMP_ENABLE = 1, SND_TSTAMP_TYPE_MONOTONIC = 1 };

/* name without "snd_pcm_", result, parameters */
#define RVA_ALSA_FUNCTIONS(X)                                                                                          \
    X(open, int, (snd_pcm **, const char *, int, int))                                                                 \
    X(close, int, (snd_pcm *))                                                                                         \
    X(type, int, (snd_pcm *))                                                                                          \
    X(state, int, (snd_pcm *))                                                                                         \
    X(prepare, int, (snd_pcm *))                                                                                       \
    X(start, int, (snd_pcm *))                                                                                         \
    X(drop, int, (snd_pcm *))                                                                                          \
    X(resume, int, (snd_pcm *))                                                                                        \
    X(readi, snd_sframes, (snd_pcm *, void *, snd_uframes))                                                            \
    X(avail, snd_sframes, (snd_pcm *))                                                                                 \
    X(htimestamp, int, (snd_pcm *, snd_uframes *, struct timespec *))                                                  \
    X(poll_descriptors_count, int, (snd_pcm *))                                                                        \
    X(poll_descriptors, int, (snd_pcm *, struct pollfd *, unsigned))                                                   \
    X(poll_descriptors_revents, int, (snd_pcm *, struct pollfd *, unsigned, unsigned short *))                         \
    X(hw_params_malloc, int, (snd_pcm_hw_params **))                                                                   \
    X(hw_params_free, void, (snd_pcm_hw_params *))                                                                     \
    X(hw_params_any, int, (snd_pcm *, snd_pcm_hw_params *))                                                            \
    X(hw_params_set_access, int, (snd_pcm *, snd_pcm_hw_params *, int))                                                \
    X(hw_params_set_rate_resample, int, (snd_pcm *, snd_pcm_hw_params *, unsigned))                                    \
    X(hw_params_test_format, int, (snd_pcm *, snd_pcm_hw_params *, int))                                               \
    X(hw_params_set_format, int, (snd_pcm *, snd_pcm_hw_params *, int))                                                \
    X(hw_params_get_channels_min, int, (const snd_pcm_hw_params *, unsigned *))                                        \
    X(hw_params_get_channels_max, int, (const snd_pcm_hw_params *, unsigned *))                                        \
    X(hw_params_set_channels, int, (snd_pcm *, snd_pcm_hw_params *, unsigned))                                         \
    X(hw_params_get_rate_min, int, (const snd_pcm_hw_params *, unsigned *, int *))                                     \
    X(hw_params_get_rate_max, int, (const snd_pcm_hw_params *, unsigned *, int *))                                     \
    X(hw_params_test_rate, int, (snd_pcm *, snd_pcm_hw_params *, unsigned, int))                                       \
    X(hw_params_set_rate, int, (snd_pcm *, snd_pcm_hw_params *, unsigned, int))                                        \
    X(hw_params_set_rate_min, int, (snd_pcm *, snd_pcm_hw_params *, unsigned *, int *))                                \
    X(hw_params_set_rate_max, int, (snd_pcm *, snd_pcm_hw_params *, unsigned *, int *))                                \
    X(hw_params_set_rate_near, int, (snd_pcm *, snd_pcm_hw_params *, unsigned *, int *))                               \
    X(hw_params_get_period_time_min, int, (const snd_pcm_hw_params *, unsigned *, int *))                              \
    X(hw_params_set_period_size_near, int, (snd_pcm *, snd_pcm_hw_params *, snd_uframes *, int *))                     \
    X(hw_params_set_buffer_size_near, int, (snd_pcm *, snd_pcm_hw_params *, snd_uframes *))                            \
    X(hw_params, int, (snd_pcm *, snd_pcm_hw_params *))                                                                \
    X(sw_params_malloc, int, (snd_pcm_sw_params **))                                                                   \
    X(sw_params_free, void, (snd_pcm_sw_params *))                                                                     \
    X(sw_params_current, int, (snd_pcm *, snd_pcm_sw_params *))                                                        \
    X(sw_params_set_avail_min, int, (snd_pcm *, snd_pcm_sw_params *, snd_uframes))                                     \
    X(sw_params_set_tstamp_mode, int, (snd_pcm *, snd_pcm_sw_params *, int))                                           \
    X(sw_params_set_tstamp_type, int, (snd_pcm *, snd_pcm_sw_params *, int))                                           \
    X(sw_params, int, (snd_pcm *, snd_pcm_sw_params *))

struct rva_alsa {
#define RVA_ALSA_FIELD(name, result, parameters) result(*name) parameters;
    RVA_ALSA_FUNCTIONS(RVA_ALSA_FIELD)
#undef RVA_ALSA_FIELD
};

/* ALSA's number for one of our formats, in this machine's byte order; -1 for none. */
int rva_alsa_format(unsigned format);

/* ALSA's number for 24 bits in the lower three bytes of 32 (S24_LE), in this machine's byte order. The highest byte may
 * hold anything. Shifted up, the samples are RVA_FORMAT_S32. */
int rva_alsa_format_24_in_32(void);

#endif
