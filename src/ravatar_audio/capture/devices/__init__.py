"""What microphones there are and who may use them; opens none.

device        a device as data, and how one is chosen (pure)
cards         the kernel's sound cards, by identity
arrays        microphone arrays that are known: which channel carries what (arrays.toml)
channels      the sound of each channel, and which to hear (pure)
holders       which programs have a device open
permissions   whether this user may open it
privacy       whether the system's settings let this program have it
"""
