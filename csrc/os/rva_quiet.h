/* rva_quiet.h - sound libraries that print nothing. Part of the public C interface, in the manner of rva.h.
 *
 * libasound and libjack print what they try on the standard error of whoever uses them, which is the program's, not ours to
 * redirect: its threads and children write there too. Both let a program take their messages, and so we do.
 */
#ifndef RVA_QUIET_H
#define RVA_QUIET_H

/* --- cdef begin --- */

/* Any thread; may be called again. Takes the messages of libasound and libjack, where these are loaded, and of PortAudio where
 * it lets one, and does nothing with them. A handler that the program has set itself is left alone. */
void rva_quiet_libraries(void);

/* --- cdef end --- */

#endif
