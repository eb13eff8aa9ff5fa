/* Stands between the box's process and the C library, so that a test can make syncs fail and the wall clock jump.

   FAULT_CONTROL  folder; while it holds "fail-sync", no sync of a file below FAULT_DISK succeeds;
                  "clock-offset-s" holds the seconds by which CLOCK_REALTIME, and nothing else, is wrong
   FAULT_DISK     folder

   The monotonic clock and sleeping stay true: on a real box, too, only the wall clock jumps. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int sync_or_fail(const char *name, int fd) {
    const char *control = getenv("FAULT_CONTROL"), *disk = getenv("FAULT_DISK");
    char flag[512], link[64], path[512];
    if (control && disk) {
        snprintf(flag, sizeof flag, "%s/fail-sync", control);
        if (access(flag, F_OK) == 0) {
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t length = readlink(link, path, sizeof path - 1);
            path[length > 0 ? length : 0] = 0;
            if (strncmp(path, disk, strlen(disk)) == 0) { errno = EIO; return -1; }
        }
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return sync_or_fail("fsync", fd); }
int fdatasync(int fd) { return sync_or_fail("fdatasync", fd); }

static long offset_s(void) {
    const char *control = getenv("FAULT_CONTROL");
    char name[512];
    long offset = 0;
    if (!control) return 0;
    snprintf(name, sizeof name, "%s/clock-offset-s", control);
    FILE *file = fopen(name, "re");
    if (file) {
        if (fscanf(file, "%ld", &offset) != 1) offset = 0;
        fclose(file);
    }
    return offset;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += offset_s();
    return result;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *now, void *zone) {
    (void)zone;
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
