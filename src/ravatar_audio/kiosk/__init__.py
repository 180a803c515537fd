"""A live session as a service, with a page for the screen beside the microphone.

machine   what the screen shows (pure)      texts    its words, by language
server    the page, for this machine only   page.html
service   one session after the other       notify   what the service manager hears
watching  metrics and recorder, over all sessions
"""
