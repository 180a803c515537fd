/* All contenders that this build has, NULL at the end; this project's own come first. */
#ifndef CONTENDERS_H
#define CONTENDERS_H

#include "resample_driver.h"

extern const contender *const contenders[];

#endif
