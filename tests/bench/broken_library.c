/* SPDX-License-Identifier: Apache-2.0 */
/* A libhunze that fails as its name in the environment says: HUNZE_BROKEN=crash ends the process in a call, HUNZE_BROKEN=wrong damages an
 * element of its result, HUNZE_BROKEN=refuse returns an error.  Everything else is the real library, which this one is linked with. */
#include "../../include/hunze.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

hunze_status hunze_plan_run(const hunze_plan *plan, const hunze_call *call, const hunze_run *run)
{
    hunze_status (*real)(const hunze_plan *, const hunze_call *, const hunze_run *);
    *(void **)&real = dlsym(RTLD_NEXT, "hunze_plan_run");
    const char *how = getenv("HUNZE_BROKEN");
    if (how && !strcmp(how, "crash"))
        raise(SIGSEGV);
    if (how && !strcmp(how, "refuse"))
        return HUNZE_ERR_UNSUPPORTED;
    const hunze_status status = real(plan, call, run);
    if (how && !strcmp(how, "wrong"))
        ((unsigned char *)call->d->data)[2] ^= 0x40;
    return status;
}
