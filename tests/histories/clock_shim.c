/* Steps the wall clock of one process, and no other clock: preloaded, it adds to what the system
 * says as many seconds as stand in the first eight bytes of the file that CLOCK_SHIM names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int (*read_clock)(clockid_t, struct timespec *);
static volatile int64_t *seconds;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("CLOCK_SHIM");
	int file = path == NULL ? -1 : open(path, O_RDONLY);
	void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);

	read_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	if (read_clock == NULL || mapped == MAP_FAILED)
		abort();
	seconds = mapped;
	close(file);
}

int clock_gettime(clockid_t id, struct timespec *time)
{
	int failed;

	/* Somebody else's constructor may want to know the time before ours has run. */
	if (read_clock == NULL)
		begin();
	failed = read_clock(id, time);
	if (failed == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		time->tv_sec += *seconds;
	return failed;
}
