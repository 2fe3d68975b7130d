/*
 * Has the kernel fill in memory when it is asked for, not page by page as it is touched: a page costs a User-mode Linux
 * machine 26 us where it is touched, 2.5 us in bulk. Not for an account whose limit would make asking fail.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

__attribute__((constructor)) static void populate(void)
{
    if (geteuid() == 0)
        mlockall(MCL_CURRENT | MCL_FUTURE);
    unsetenv("LD_PRELOAD");
}
