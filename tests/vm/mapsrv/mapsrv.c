// SPDX-License-Identifier: Apache-2.0
/*
 * A FUSE server and its user in one program: exercises the mapping methods of the
 * kernel (file maps, and backing maps) on real DAX devices, as root.
 *
 * usage: mapsrv a|e DEVICE [DEVICE2]	devices bound to fsdev_dax
 * The first 1 GiB of each device is overwritten. Exit status: 0 all passed, 1 not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fuse_dax.h"

#define MIB (1ULL << 20)
#define MNT "/tmp/mapsrv"

/* --- server --- */

struct file {
	char name[32];
	uint64_t size;
	uint8_t map[262144];	/* (a): answer to GET_FMAP */
	size_t map_len;
	bool probe;		/* (a): answer the header alone first */
	uint64_t backing;	/* (e): answer to OPEN */
};

static struct file files[64];	/* nodeid = index + 2 */
static int nfiles;
static char method;
static int fusefd = -1;
static char *devs[2];
static int ndevs;
static atomic_int count[64];
static atomic_int inits;
static uint64_t offered;
/* Ways to misbehave */
static char wrong_name[257];		/* (a): the path of device 9 */
static int wrong_index;			/* (a): added to the index in GET_DAXDEV */
static bool accept_unoffered;		/* (a): take a method that was not offered */
static atomic_int withdraw_early;	/* (a): withdraw the map that is being sent */
static size_t open_size;		/* (e): size of the reply to OPEN, else 24 */

static void reply(uint64_t unique, int err, const void *buf, size_t len)
{
	struct fuse_out_header oh = {
		.len = sizeof(oh) + len, .error = err, .unique = unique,
	};
	struct iovec iov[2] = { { &oh, sizeof(oh) }, { (void *)buf, len } };

	if (writev(fusefd, iov, len ? 2 : 1) < 0 && errno != ENOENT)
		printf("server: reply: %s\n", strerror(errno));
}

static void fill_attr(struct fuse_attr *a, uint64_t node)
{
	memset(a, 0, sizeof(*a));
	a->ino = node;
	a->nlink = 1;
	a->blksize = 4096;
	if (node == 1) {
		a->mode = S_IFDIR | 0755;
	} else {
		a->mode = S_IFREG | 0755;
		a->size = files[node - 2].size;
	}
}

static int inval(struct file *f);

static void serve_one(struct fuse_in_header *ih)
{
	void *arg = ih + 1;
	uint64_t node = ih->nodeid;
	struct file *f = node >= 2 && node < 66 ? &files[node - 2] : NULL;

	if (ih->opcode < 64)
		count[ih->opcode]++;
	switch (ih->opcode) {
	case FUSE_INIT: {
		struct fuse_init_in *in = arg;
		struct fuse_init_out out = {
			.major = 7, .minor = 46, .max_readahead = in->max_readahead,
			.max_write = 65536, .max_background = 12, .time_gran = 1,
			.max_stack_depth = 1,
		};
		uint64_t flags;

		offered = in->flags | (uint64_t)in->flags2 << 32;
		flags = FUSE_INIT_EXT;
		if (method == 'a')
			flags |= FUSE_DAX_FMAP;
		if (method == 'e')
			flags |= FUSE_PASSTHROUGH | FUSE_PASSTHROUGH_V2;
		if (!accept_unoffered)
			flags &= offered;
		out.flags = flags;
		out.flags2 = flags >> 32;
		inits++;
		reply(ih->unique, 0, &out, sizeof(out));
		return;
	}
	case FUSE_LOOKUP: {
		struct fuse_entry_out out = { 0 };

		for (int i = 0; i < nfiles; i++) {
			if (strcmp(files[i].name, arg))
				continue;
			out.nodeid = i + 2;
			out.attr_valid = 0;
			fill_attr(&out.attr, out.nodeid);
			reply(ih->unique, 0, &out, sizeof(out));
			return;
		}
		reply(ih->unique, -ENOENT, NULL, 0);
		return;
	}
	case FUSE_GETATTR: {
		struct fuse_attr_out out = { .attr_valid = 1 };

		fill_attr(&out.attr, node);
		reply(ih->unique, 0, &out, sizeof(out));
		return;
	}
	case FUSE_SETATTR: {
		struct fuse_setattr_in *in = arg;
		struct fuse_attr_out out = { .attr_valid = 1 };

		if (in->valid & FATTR_SIZE)
			printf("server: SETATTR of the size arrived\n");
		fill_attr(&out.attr, node);
		reply(ih->unique, 0, &out, sizeof(out));
		return;
	}
	case FUSE_OPEN: {
		struct fuse_open_out_v2 out = { .fh = node };

		if (method == 'e') {
			out.open_flags = FOPEN_PASSTHROUGH;
			out.backing_id_64 = f->backing;
			reply(ih->unique, 0, &out, open_size ? open_size : sizeof(out));
		} else {
			reply(ih->unique, 0, &out, 16);
		}
		return;
	}
	case FUSE_OPENDIR: {
		struct fuse_open_out_v2 out = { .fh = node };

		reply(ih->unique, 0, &out, 16);
		return;
	}
	case FUSE_GET_FMAP:
		if (withdraw_early > 0) {
			withdraw_early--;
			inval(f);
		}
		if (f->probe && ih->len == sizeof(*ih))
			reply(ih->unique, 0, f->map, 32);
		else
			reply(ih->unique, 0, f->map, f->map_len);
		return;
	case FUSE_GET_DAXDEV: {
		struct fuse_daxdev_out out = { .index = node + wrong_index };

		if (node < (uint64_t)ndevs)
			strcpy(out.name, devs[node]);
		else if (wrong_name[0])
			memcpy(out.name, wrong_name, sizeof(out.name));
		else {
			reply(ih->unique, -ENODEV, NULL, 0);
			return;
		}
		reply(ih->unique, 0, &out, sizeof(out));
		return;
	}
	case FUSE_STATFS: {
		struct fuse_statfs_out out = { 0 };

		reply(ih->unique, 0, &out, sizeof(out));
		return;
	}
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_DESTROY:
		reply(ih->unique, 0, NULL, 0);
		return;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		reply(ih->unique, -ENOSYS, NULL, 0);
	}
}

static void *serve(void *unused)
{
	size_t len = 1 << 20;
	char *buf = malloc(len);

	for (;;) {
		ssize_t n = read(fusefd, buf, len);

		if (n < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
			continue;
		if (n < 0)
			break;
		serve_one((void *)buf);
	}
	free(buf);
	return unused;
}

/* --- test frame --- */

static int failed, passed;
#define CHECK(cond, ...) do {						\
	if (cond) {							\
		passed++;						\
	} else {							\
		int e_ = errno;						\
		failed++;						\
		printf("FAIL line %d: %s: ", __LINE__, #cond);		\
		printf("" __VA_ARGS__);					\
		printf(" (errno %s)\n", strerror(e_));			\
	}								\
	fflush(stdout);							\
} while (0)

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("== ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	fflush(stdout);
}

static sigjmp_buf jump;
static siginfo_t sig;
static void on_sigbus(int s, siginfo_t *si, void *u)
{
	(void)s; (void)u;
	sig = *si;
	siglongjmp(jump, 1);
}

/* Touches *p; returns the si_code of the SIGBUS or 0 */
static int touch(volatile char *p, int write)
{
	if (sigsetjmp(jump, 1))
		return sig.si_code;
	if (write)
		*p = *p + 1;
	else
		(void)*p;
	return 0;
}

static long stat_of(const char *key)
{
	FILE *f = fopen("/sys/kernel/debug/fuse_dax/stats", "r");
	char k[64];
	long v, r = -1;

	if (!f)
		return -1;
	while (fscanf(f, "%63s %ld", k, &v) == 2)
		if (!strcmp(k, key))
			r = v;
	fclose(f);
	return r;
}

static int write_file(const char *path, const char *fmt, ...)
{
	char buf[256];
	va_list ap;
	int fd = open(path, O_WRONLY), n, r;

	if (fd < 0)
		return -errno;
	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	r = write(fd, buf, n) == n ? 0 : -errno;
	close(fd);
	return r;
}

static bool file_has(const char *path, const char *text)
{
	static char buf[65536];
	int fd = open(path, O_RDONLY);
	ssize_t n = 0, r;

	if (fd < 0)
		return false;
	while ((r = read(fd, buf + n, sizeof(buf) - 1 - n)) > 0)
		n += r;
	close(fd);
	buf[n] = 0;
	return strstr(buf, text);
}

static int do_mount(void)
{
	char opts[128];
	pthread_t t;
	int i, before = inits;

	mkdir(MNT, 0755);
	fusefd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fusefd);
	if (mount("mapsrv", MNT, "fuse.mapsrv", 0, opts))
		return -errno;
	pthread_create(&t, NULL, serve, NULL);
	pthread_detach(t);
	for (i = 0; i < 10000 && inits == before; i++)
		usleep(1000);
	/* the reply is processed when this is answered */
	struct stat st;
	stat(MNT "/none", &st);
	return 0;
}

/* Whether this thread has CAP_SYS_RAWIO in effect */
static void set_rawio(bool on)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	CHECK(syscall(SYS_capget, &head, data) == 0);
	data[0].effective &= ~(1U << CAP_SYS_RAWIO);
	if (on)
		data[0].effective |= 1U << CAP_SYS_RAWIO;
	CHECK(syscall(SYS_capset, &head, data) == 0);
}

/* --- (a) maps --- */

static struct fuse_famfs_fmap_header *fmap_begin(struct file *f, uint64_t size, int type, uint32_t n)
{
	struct fuse_famfs_fmap_header *h = (void *)f->map;

	memset(f->map, 0, sizeof(f->map));
	h->fmap_version = 1;
	h->ext_type = type;
	h->nextents = n;
	h->file_size = size;
	f->map_len = sizeof(*h);
	f->size = size;
	return h;
}

static void fmap_simple(struct file *f, uint32_t dev, uint64_t off, uint64_t len)
{
	struct fuse_famfs_simple_ext se = { .se_devindex = dev, .se_offset = off, .se_len = len };

	memcpy(f->map + f->map_len, &se, sizeof(se));
	f->map_len += sizeof(se);
}

static void fmap_iext(struct file *f, uint32_t strips, uint32_t chunk, uint64_t bytes)
{
	struct fuse_famfs_iext ie = { .ie_nstrips = strips, .ie_chunk_size = chunk, .ie_nbytes = bytes };

	memcpy(f->map + f->map_len, &ie, sizeof(ie));
	f->map_len += sizeof(ie);
}

static struct file *new_file(const char *name, uint64_t size)
{
	struct file *f = &files[nfiles++];

	snprintf(f->name, sizeof(f->name), "%s", name);
	f->size = size;
	f->probe = false;
	f->backing = 0;
	return f;
}

static int nodeid(struct file *f)
{
	return f - files + 2;
}

/* --- (e) maps --- */

static uint64_t next_backing = 1000;

static int notify(int code, const void *head, size_t hlen, const void *data, size_t dlen)
{
	struct fuse_out_header oh = { .len = sizeof(oh) + hlen + dlen, .error = code };
	struct iovec iov[3] = { { &oh, sizeof(oh) }, { (void *)head, hlen }, { (void *)data, dlen } };

	return writev(fusefd, iov, dlen ? 3 : 2) < 0 ? -errno : 0;
}

static int backing_map(uint64_t id, uint32_t flags, const struct fuse_extent *e, uint32_t n)
{
	struct fuse_notify_backing_map_out o = { .backing_id = id, .num_extents = n, .flags = flags };

	return notify(FUSE_NOTIFY_BACKING_MAP, &o, sizeof(o), e, n * sizeof(*e));
}

static int inval(struct file *f)
{
	struct fuse_notify_inval_inode_out o = { .ino = nodeid(f), .off = 0, .len = 0 };

	return notify(FUSE_NOTIFY_INVAL_INODE, &o, sizeof(o), NULL, 0);
}

/* --- maps by either method --- */

static void map_simple(struct file *f, uint64_t size, int dev, uint64_t off, uint64_t len)
{
	f->size = size;
	if (method == 'a') {
		fmap_begin(f, size, 0, 1);
		fmap_simple(f, dev, off, len);
	} else {
		struct fuse_extent e = { 0, len, dev + 1, off, { 0 } };

		f->backing = next_backing++;
		CHECK(backing_map(f->backing, FUSE_BACKING_MAP_CREATE, &e, 1) == 0);
	}
}

static void map_strips(struct file *f, uint64_t size, uint64_t chunk, int n, const int *dev, const uint64_t *off,
		       uint64_t strip_len)
{
	f->size = size;
	if (method == 'a') {
		fmap_begin(f, size, 1, 1);
		fmap_iext(f, n, chunk, size);
		for (int i = 0; i < n; i++)
			fmap_simple(f, dev[i], off[i], strip_len);
	} else {
		struct fuse_extent e[32] = { 0 };

		for (int i = 0; i < n; i++) {
			e[i].offset = i * chunk;
			e[i].length = chunk;
			e[i].backing_id = dev[i] + 1;
			e[i].addr = off[i];
		}
		f->backing = next_backing++;
		CHECK(backing_map(f->backing, FUSE_BACKING_MAP_CREATE | FUSE_BACKING_MAP_CYCLIC, e, n) == 0);
	}
}

static int open_file(struct file *f, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), MNT "/%s", f->name);
	return open(path, flags);
}

static uint8_t pattern(uint64_t off, int seed)
{
	uint64_t x = (off / 8 + 1) * 0x9e3779b97f4a7c15ULL * (seed + 1);

	return x >> (8 * (off % 8));
}

static uint64_t phys_of(void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t e = 0;

	pread(fd, &e, 8, (uintptr_t)p / 4096 * 8);
	close(fd);
	return (e & ((1ULL << 55) - 1)) * 4096;
}

/* --- tests --- */

static struct file *f_simple, *f_int;

static void test_basic(void)
{
	char *buf = malloc(8 * MIB), *buf2 = malloc(8 * MIB);
	int fd, fd2, opens, fmaps, daxdevs, fd0;
	long pmd, pte;
	char *p;

	say("open, read, write, mmap");
	f_simple = new_file("simple", 0);
	map_simple(f_simple, 64 * MIB, 0, 64 * MIB, 64 * MIB);
	opens = count[FUSE_OPEN]; fmaps = count[FUSE_GET_FMAP]; daxdevs = count[FUSE_GET_DAXDEV];
	fd = open_file(f_simple, O_RDWR);
	CHECK(fd >= 0);
	if (fd < 0)
		exit(1);
	fd2 = open_file(f_simple, O_RDWR);
	CHECK(fd2 >= 0);
	CHECK(count[FUSE_OPEN] - opens == 2);
	if (method == 'a')
		CHECK(count[FUSE_GET_FMAP] - fmaps == 1 && count[FUSE_GET_DAXDEV] - daxdevs == 1);
	else
		CHECK(count[FUSE_GET_FMAP] == 0);

	for (size_t i = 0; i < 8 * MIB; i++)
		buf[i] = pattern(i, 1);
	int all = 0;
	for (int i = 0; i < 64; i++)
		all += count[i];
	CHECK(pwrite(fd, buf, 8 * MIB, 3 * MIB + 123) == (ssize_t)(8 * MIB));
	CHECK(pread(fd2, buf2, 8 * MIB, 3 * MIB + 123) == (ssize_t)(8 * MIB));
	CHECK(!memcmp(buf, buf2, 8 * MIB));
	pmd = stat_of("fault_pmd"); pte = stat_of("fault_pte");
	p = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK(!memcmp(p + 3 * MIB + 123, buf, 8 * MIB));
	printf("   PMD faults %ld, PTE faults %ld\n", stat_of("fault_pmd") - pmd, stat_of("fault_pte") - pte);
	CHECK(stat_of("fault_pmd") - pmd >= 4 && stat_of("fault_pte") - pte == 0);
	memset(p + 20 * MIB, 0x5a, MIB);
	CHECK(pread(fd, buf2, MIB, 20 * MIB) == (ssize_t)MIB && buf2[0] == 0x5a && buf2[MIB - 1] == 0x5a);
	int now = 0;
	for (int i = 0; i < 64; i++)
		now += count[i];
	printf("   messages for write, read, mmap, faults: %d (GETXATTR %d)\n", now - all, count[FUSE_GETXATTR]);
	CHECK(now - all - count[FUSE_GETXATTR] == 0);

	say("copy with a buffer that is the file itself and not yet mapped");
	char *q = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(pread(fd2, q + 40 * MIB, 4 * MIB, 3 * MIB + 123) == (ssize_t)(4 * MIB));
	CHECK(!memcmp(p + 40 * MIB, buf, 4 * MIB));
	CHECK(pwrite(fd2, q + 40 * MIB, 4 * MIB, 50 * MIB + 1) == (ssize_t)(4 * MIB));
	CHECK(!memcmp(p + 50 * MIB + 1, buf, 4 * MIB));
	CHECK(pread(fd2, (char *)1, 4096, 0) == -1 && errno == EFAULT);
	munmap(q, 64 * MIB);

	say("ends");
	CHECK(pwrite(fd, buf, 1, 64 * MIB) == -1 && errno == ENOSPC);
	CHECK(pwrite(fd, buf, 4096, 64 * MIB - 100) == 100);
	CHECK(pread(fd, buf2, 4096, 64 * MIB - 100) == 100);
	CHECK(pread(fd, buf2, 4096, 64 * MIB) == 0);
	fd0 = open_file(f_simple, O_RDWR | O_APPEND);
	CHECK(write(fd0, buf, 1) == -1 && errno == ENOSPC);
	close(fd0);
	CHECK(ftruncate(fd, 1) == -1 && errno == EPERM);
	CHECK(ftruncate(fd, 128 * MIB) == -1 && errno == EPERM);
	CHECK(open_file(f_simple, O_RDWR | O_TRUNC) == -1 && errno == EPERM);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == -1 && errno == EOPNOTSUPP);
	struct stat st;
	CHECK(fstat(fd, &st) == 0 && st.st_size == (off_t)(64 * MIB));
	CHECK(fsync(fd) == 0 && msync(p, 64 * MIB, MS_SYNC) == 0);

	say("O_DIRECT, private, fork, splice, madvise");
	fd0 = open_file(f_simple, O_RDWR | O_DIRECT);
	CHECK(fd0 >= 0);
	CHECK(pread(fd0, buf2, MIB, 3 * MIB + 123) == (ssize_t)MIB && !memcmp(buf, buf2, MIB));
	close(fd0);
	q = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 20 * MIB);
	q[5] = 1;
	CHECK(p[20 * MIB + 5] == 0x5a && q[5] == 1 && q[4096] == 0x5a);
	munmap(q, 2 * MIB);
	if (!fork()) {
		p[30 * MIB] = 77;
		_exit(p[20 * MIB] == 0x5a ? 0 : 1);
	}
	int ws;
	wait(&ws);
	CHECK(WIFEXITED(ws) && !WEXITSTATUS(ws) && p[30 * MIB] == 77);
	int tmp = open("/tmp/out", O_RDWR | O_CREAT | O_TRUNC, 0600);
	off_t off = 3 * MIB + 123;
	size_t left = MIB;
	while (left) {
		ssize_t n = sendfile(tmp, fd, &off, left);
		if (n <= 0)
			break;
		left -= n;
	}
	CHECK(!left && pread(tmp, buf2, MIB, 0) == (ssize_t)MIB && !memcmp(buf, buf2, MIB));
	loff_t in = 3 * MIB + 123, out = 33 * MIB;
	CHECK(copy_file_range(fd, &in, fd2, &out, 65536, 0) == 65536);
	CHECK(!memcmp(p + 33 * MIB, buf, 65536));
	close(tmp);
	unlink("/tmp/out");
	CHECK(madvise(p, 64 * MIB, MADV_DONTNEED) == 0 && p[30 * MIB] == 77);
	q = mremap(p, 64 * MIB, 32 * MIB, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && q[30 * MIB] == 77);
	munmap(q, 32 * MIB);
	close(fd2);
	close(fd);
	free(buf);
	free(buf2);
}

static void test_exec(void)
{
	struct file *f = new_file("prog", 0);
	char *argv[] = { MNT "/prog", "--version", NULL };
	int in = open("/bin/true", O_RDONLY), fd, n, ws;
	static char buf[MIB];

	say("exec");
	n = read(in, buf, sizeof(buf));
	close(in);
	map_simple(f, n, 0, 192 * MIB, 2 * MIB);
	fd = open_file(f, O_RDWR);
	CHECK(fd >= 0);
	CHECK(pwrite(fd, buf, n, 0) == n);
	close(fd);
	if (!fork()) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 1);
		execv(argv[0], argv);
		_exit(99);
	}
	wait(&ws);
	CHECK(WIFEXITED(ws) && WEXITSTATUS(ws) == 0, "status %#x", ws);
}

static void test_interleave(void)
{
	const uint64_t chunk = 2 * MIB, size = 61 * MIB + 77;
	int dev[4] = { 0, ndevs > 1, 0, ndevs > 1 };
	uint64_t off[4] = { 256 * MIB, 288 * MIB, 320 * MIB, 352 * MIB };
	uint8_t *model = malloc(size), *p;
	struct file *raw;
	int fd, bad = 0;

	say("interleaved, %d devices", ndevs);
	f_int = new_file("inter", 0);
	map_strips(f_int, size, chunk, 4, dev, off, 16 * MIB);
	fd = open_file(f_int, O_RDWR);
	CHECK(fd >= 0);
	if (fd < 0)
		return;
	for (uint64_t i = 0; i < size; i++)
		model[i] = pattern(i, 3);
	CHECK(pwrite(fd, model, size, 0) == (ssize_t)size);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK(!memcmp(p, model, size));
	srandom(1);
	for (int i = 0; i < 2000; i++) {
		uint64_t at = random() % size, len = random() % 20000;
		static uint8_t b[20000];

		if (at % 5 == 0)
			at = at / chunk * chunk - (at >= chunk ? random() % 100 : 0);
		if (len > size - at)
			len = size - at;
		if (i % 3 == 0) {
			for (uint64_t k = 0; k < len; k++)
				b[k] = model[at + k] = random();
			if (i % 2)
				bad += pwrite(fd, b, len, at) != (ssize_t)len;
			else
				memcpy(p + at, b, len);
		} else if (i % 3 == 1) {
			bad += pread(fd, b, len, at) != (ssize_t)len || memcmp(b, model + at, len);
		} else {
			bad += !!memcmp(p + at, model + at, len);
		}
	}
	CHECK(!bad, "%d wrong", bad);
	munmap(p, size);
	close(fd);

	say("the same memory strip by strip");
	CHECK(inval(f_int) == 0);
	for (int s = 0; s < 4; s++) {
		char name[16];

		snprintf(name, sizeof(name), "raw%d", s);
		raw = new_file(name, 0);
		map_simple(raw, 16 * MIB, dev[s], off[s], 16 * MIB);
		fd = open_file(raw, O_RDONLY);
		CHECK(fd >= 0);
		p = mmap(NULL, 16 * MIB, PROT_READ, MAP_SHARED, fd, 0);
		for (uint64_t c = s; c * chunk < size; c += 4) {
			uint64_t len = size - c * chunk < chunk ? size - c * chunk : chunk;

			bad += !!memcmp(p + c / 4 * chunk, model + c * chunk, len);
		}
		munmap(p, 16 * MIB);
		close(fd);
		CHECK(inval(raw) == 0);
	}
	CHECK(!bad);
	free(model);
}

static void expect_open(struct file *f, int err, const char *what)
{
	int fd = open_file(f, O_RDONLY);

	if (fd >= 0 ? err != 0 : errno != err) {
		failed++;
		printf("FAIL wrong map (%s): open gave %s, expected %s\n", what, fd >= 0 ? "success" : strerror(errno),
		       strerror(err));
	} else {
		passed++;
	}
	if (fd >= 0)
		close(fd);
	inval(f);
}

static void test_wrong_a(void)
{
	struct file *f = new_file("wrong", 64 * MIB);
	struct fuse_famfs_fmap_header *h;
	int fd;

	say("wrong maps");
#define SIMPLE(size, dev, off, len) (h = fmap_begin(f, size, 0, 1), fmap_simple(f, dev, off, len))
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); expect_open(f, 0, "good");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); h->fmap_version = 2; expect_open(f, EINVAL, "version");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); h->file_type = 3; expect_open(f, EINVAL, "file type");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); h->ext_type = 2; expect_open(f, EINVAL, "extent type");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); h->nextents = 0; expect_open(f, EINVAL, "no extents");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); h->nextents = 2; expect_open(f, EINVAL, "too short");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); h->nextents = 1000000; expect_open(f, E2BIG, "many extents");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); h->nextents = 0xffffffff; expect_open(f, E2BIG, "2^32 extents");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); h->file_size = 0; expect_open(f, EINVAL, "size 0");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); h->file_size = ~0ULL; expect_open(f, EINVAL, "size 2^64");
	SIMPLE(2 * MIB + 1, 0, 512 * MIB, 2 * MIB); expect_open(f, EINVAL, "extents shorter than the file");
	SIMPLE(2 * MIB, 0, 512 * MIB + 512, 2 * MIB); expect_open(f, EINVAL, "offset misaligned");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB + 512); expect_open(f, EINVAL, "length misaligned");
	SIMPLE(2 * MIB, 0, 1ULL << 45, 2 * MIB); expect_open(f, EINVAL, "outside the device");
	SIMPLE(1ULL << 45, 0, 0, 1ULL << 45); expect_open(f, EINVAL, "longer than the device");
	SIMPLE(2 * MIB, 0, 0ULL - 2 * MIB, 4 * MIB); expect_open(f, EINVAL, "overflow");
	SIMPLE(2 * MIB, 0, 512 * MIB, 0); expect_open(f, EINVAL, "length 0");
	SIMPLE(2 * MIB, 63, 512 * MIB, 2 * MIB); expect_open(f, ENODEV, "unknown device");
	SIMPLE(2 * MIB, 64, 512 * MIB, 2 * MIB); expect_open(f, EINVAL, "device index");
	SIMPLE(2 * MIB, 0xffffffff, 512 * MIB, 2 * MIB); expect_open(f, EINVAL, "device index 2^32");
	strcpy(wrong_name, "/dev/null");
	SIMPLE(2 * MIB, 9, 512 * MIB, 2 * MIB); expect_open(f, ENODEV, "/dev/null");
	strcpy(wrong_name, "/bin/true");
	SIMPLE(2 * MIB, 9, 512 * MIB, 2 * MIB); expect_open(f, ENODEV, "regular file");
	strcpy(wrong_name, devs[0] + 1);
	SIMPLE(2 * MIB, 9, 512 * MIB, 2 * MIB); expect_open(f, EINVAL, "relative name");
	memset(wrong_name, '/', 256);
	SIMPLE(2 * MIB, 9, 512 * MIB, 2 * MIB); expect_open(f, EINVAL, "name without end");
	memset(wrong_name, 0, 256);
	strcpy(wrong_name, devs[0]);
	wrong_index = 1;
	SIMPLE(2 * MIB, 9, 512 * MIB, 2 * MIB); expect_open(f, EINVAL, "another index");
	wrong_index = 0;
	wrong_name[0] = 0;
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); f->map_len = 31; expect_open(f, EINVAL, "31 bytes");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB); f->map_len = 0; expect_open(f, EINVAL, "0 bytes");
	SIMPLE(2 * MIB, 0, 1ULL << 51, 2 * MIB); expect_open(f, EINVAL, "address 2^51");
	h = fmap_begin(f, 4 * MIB, 0, 2); fmap_simple(f, 0, 512 * MIB, 2 * MIB); fmap_simple(f, 0, 513 * MIB, 2 * MIB);
	expect_open(f, EINVAL, "overlap with itself");
#define INTER(strips, chunk, bytes, n, len) do {						\
	h = fmap_begin(f, 8 * MIB, 1, 1); fmap_iext(f, strips, chunk, bytes);			\
	for (int i_ = 0; i_ < (n); i_++) fmap_simple(f, 0, (512 + 8 * i_) * MIB, len); } while (0)
	INTER(2, 2 * MIB, 8 * MIB, 2, 4 * MIB); expect_open(f, 0, "good interleaved");
	INTER(0, 2 * MIB, 8 * MIB, 2, 4 * MIB); expect_open(f, EINVAL, "no strips");
	INTER(33, 2 * MIB, 8 * MIB, 33, 2 * MIB); expect_open(f, E2BIG, "33 strips");
	INTER(0xffffffff, 2 * MIB, 8 * MIB, 2, 2 * MIB); expect_open(f, E2BIG, "2^32 strips");
	INTER(2, 0, 8 * MIB, 2, 4 * MIB); expect_open(f, EINVAL, "chunk 0");
	INTER(2, 2 * MIB + 1, 8 * MIB, 2, 4 * MIB); expect_open(f, EINVAL, "chunk misaligned");
	INTER(2, 2 * MIB, 4 * MIB, 2, 4 * MIB); expect_open(f, EINVAL, "nbytes shorter than the file");
	INTER(2, 2 * MIB, 8 * MIB, 2, 2 * MIB); expect_open(f, EINVAL, "strips too short");
	INTER(3, 2 * MIB, 8 * MIB, 2, 4 * MIB); expect_open(f, EINVAL, "strip missing");

	say("overlap with another file");
	fd = open_file(f_simple, O_RDONLY);
	CHECK(fd >= 0);
	SIMPLE(2 * MIB, 0, 127 * MIB, 2 * MIB); expect_open(f, EINVAL, "overlap with another file");
	SIMPLE(2 * MIB, 0, 128 * MIB, 2 * MIB); expect_open(f, 0, "just behind another file");
	close(fd);

	say("a map too large for the first request");
	h = fmap_begin(f, 4000 * 4096, 0, 4000);
	for (int i = 0; i < 4000; i++)
		fmap_simple(f, 0, 512 * MIB + i * 8192, 4096);
	h->reserved1 = f->map_len;
	f->probe = true;
	int before = count[FUSE_GET_FMAP];
	fd = open_file(f, O_RDWR);
	CHECK(fd >= 0);
	CHECK(count[FUSE_GET_FMAP] - before == 2);
	static char b[20000], c[20000];
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = pattern(i, 9);
	CHECK(pwrite(fd, b, sizeof(b), 3990 * 4096 - 100) == sizeof(b));
	CHECK(pread(fd, c, sizeof(c), 3990 * 4096 - 100) == sizeof(c) && !memcmp(b, c, sizeof(b)));
	close(fd);
	inval(f);
	h->reserved1 = 1 << 21; expect_open(f, E2BIG, "2 MiB of map");
	f->probe = false;

	say("registration by descriptor");
	struct fuse_daxdev_register_in r = { .fd = open(devs[0], O_RDWR), .index = 5 };
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_DAXDEV_REGISTER, &r) == 0);
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_DAXDEV_REGISTER, &r) == 0);
	before = count[FUSE_GET_DAXDEV];
	SIMPLE(2 * MIB, 5, 512 * MIB, 2 * MIB); expect_open(f, 0, "registered device");
	CHECK(count[FUSE_GET_DAXDEV] == before);
	close(r.fd);
	r.fd = open(devs[0], O_RDONLY); r.index = 6;
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_DAXDEV_REGISTER, &r) == -1 && errno == EACCES);
	close(r.fd);
	r.fd = open("/dev/null", O_RDWR);
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_DAXDEV_REGISTER, &r) == -1 && errno == ENODEV);
	close(r.fd);
	r.fd = open(devs[0], O_RDWR); r.index = 64;
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_DAXDEV_REGISTER, &r) == -1 && errno == EINVAL);
	r.index = 7; r.spare[1] = 1;
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_DAXDEV_REGISTER, &r) == -1 && errno == EINVAL);
	r.spare[1] = 0;
	set_rawio(false);
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_DAXDEV_REGISTER, &r) == -1 && errno == EPERM);
	set_rawio(true);
	close(r.fd);
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_DAXDEV_REGISTER, &r) == -1 && errno == EBADF);
	if (ndevs > 1) {
		r.fd = open(devs[1], O_RDWR); r.index = 5;
		CHECK(ioctl(fusefd, FUSE_DEV_IOC_DAXDEV_REGISTER, &r) == -1 && errno == EEXIST);
		close(r.fd);
	}
	struct fuse_backing_create_in bc = { .fd = open(devs[0], O_RDWR), .backing_id = 1 };
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &bc) == -1 && errno == EOPNOTSUPP, "the other method");
	close(bc.fd);

	say("withdrawn while it is on its way");
	SIMPLE(2 * MIB, 0, 512 * MIB, 2 * MIB);
	before = count[FUSE_GET_FMAP];
	withdraw_early = 1;
	expect_open(f, 0, "withdrawn once");
	CHECK(count[FUSE_GET_FMAP] - before == 2, "%d requests", count[FUSE_GET_FMAP] - before);
	withdraw_early = 1000;
	expect_open(f, EAGAIN, "withdrawn each time");
	withdraw_early = 0;
}

static void test_wrong_e(void)
{
	const uint32_t C = FUSE_BACKING_MAP_CREATE, Y = FUSE_BACKING_MAP_CYCLIC;
	struct fuse_extent e[4], good = { 0, 2 * MIB, 1, 512 * MIB, { 0 } };
	struct file *f = new_file("wrong", 2 * MIB);
	uint64_t id = 500;
	int fd;

	say("wrong maps");
#define ONE(expect, ...) do { e[0] = good; __VA_ARGS__; int r_ = backing_map(id, C, e, 1);	\
	CHECK(r_ == (expect), "gave %d", r_); } while (0)
	ONE(-EINVAL, e[0].length = 0);
	ONE(-EINVAL, e[0].length += 512);
	ONE(-EINVAL, e[0].addr += 512);
	ONE(-EINVAL, e[0].offset = 512);
	ONE(-EINVAL, e[0].offset = 4096);
	ONE(-EINVAL, e[0].addr = 1ULL << 45);
	ONE(-EINVAL, e[0].length = 1ULL << 45);
	ONE(-EINVAL, e[0].addr = 0ULL - MIB);
	ONE(-EINVAL, e[0].length = 0ULL - MIB);
	ONE(-ENOENT, e[0].backing_id = 77);
	ONE(-EINVAL, e[0].backing_id = 0);
	ONE(-EINVAL, e[0].reserved[1] = 1);
	e[0] = e[1] = good;
	CHECK(backing_map(id, C, e, 2) == -EINVAL);
	e[1].offset = 2 * MIB; e[1].length = MIB;
	CHECK(backing_map(id, C | Y, e, 2) == -EINVAL);
	e[1].offset = 4 * MIB;
	CHECK(backing_map(id, C, e, 2) == -EINVAL);
	CHECK(backing_map(id, 0, &good, 1) == -EINVAL);
	CHECK(backing_map(id, C | 4, &good, 1) == -EINVAL);
	CHECK(backing_map(0, C, &good, 1) == -EINVAL);
	CHECK(backing_map(id, C, &good, 0) == -EINVAL);
	struct fuse_notify_backing_map_out o = { .backing_id = id, .num_extents = 100000, .flags = C };
	CHECK(notify(FUSE_NOTIFY_BACKING_MAP, &o, sizeof(o), &good, sizeof(good)) == -E2BIG);
	o.num_extents = 3;
	CHECK(notify(FUSE_NOTIFY_BACKING_MAP, &o, sizeof(o), &good, sizeof(good)) == -EINVAL);
	o.num_extents = 1; o.reserved[1] = 1;
	CHECK(notify(FUSE_NOTIFY_BACKING_MAP, &o, sizeof(o), &good, sizeof(good)) == -EINVAL);
	o.reserved[1] = 0;
	CHECK(notify(FUSE_NOTIFY_BACKING_MAP, &o, sizeof(o) - 8, NULL, 0) == -EINVAL);
	CHECK(backing_map(id, C, &good, 1) == 0);
	CHECK(backing_map(id, C, &good, 1) == -EEXIST);
	e[0] = good; e[0].backing_id = id;
	CHECK(backing_map(id + 1, C, e, 1) == -EINVAL);

	say("wrong use of maps");
	f->backing = 499; expect_open(f, ENOENT, "unknown backing");
	f->backing = id; expect_open(f, 0, "good");
	f->size = 2 * MIB + 1; expect_open(f, EINVAL, "map shorter than the file");
	f->size = 2 * MIB;
	fd = open_file(f_simple, O_RDONLY);
	CHECK(fd >= 0);
	e[0] = good; e[0].addr = 127 * MIB;
	CHECK(backing_map(id + 2, C, e, 1) == 0);
	f->backing = id + 2; expect_open(f, EINVAL, "overlap with another file");
	close(fd);
	f->backing = id;
	fd = open_file(f, O_RDONLY);
	CHECK(fd >= 0);
	e[0] = good; e[0].addr = 600 * MIB;
	CHECK(backing_map(id + 3, C, e, 1) == 0);
	f->backing = id + 3;
	CHECK(open_file(f, O_RDONLY) == -1 && errno == EBUSY);
	close(fd);
	usleep(100000);
	expect_open(f, 0, "another backing after the last close");
	struct fuse_notify_backing_remove_out rm = { .backing_id = id };
	rm.reserved = 1;
	CHECK(notify(FUSE_NOTIFY_BACKING_REMOVE, &rm, sizeof(rm), NULL, 0) == -EINVAL);
	rm.reserved = 0;
	CHECK(notify(FUSE_NOTIFY_BACKING_REMOVE, &rm, sizeof(rm) - 8, NULL, 0) == -EINVAL);
	CHECK(notify(FUSE_NOTIFY_BACKING_REMOVE, &rm, sizeof(rm), &rm, 8) == -EINVAL);
	CHECK(notify(FUSE_NOTIFY_BACKING_REMOVE, &rm, sizeof(rm), NULL, 0) == 0);
	CHECK(notify(FUSE_NOTIFY_BACKING_REMOVE, &rm, sizeof(rm), NULL, 0) == -ENOENT);
	f->backing = id; expect_open(f, ENOENT, "removed backing");
	CHECK(backing_map(id, C, &good, 1) == 0);
	open_size = 20; expect_open(f, EIO, "reply to OPEN of 20 bytes");
	open_size = 16; expect_open(f, ENOENT, "reply to OPEN without the id");
	open_size = 0; expect_open(f, 0, "the id once more");

	say("backing ids");
	struct fuse_backing_create_in c = { .fd = open(devs[0], O_RDWR), .backing_id = 1 };
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == -1 && errno == EEXIST);
	c.backing_id = 0;
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == -1 && errno == EINVAL);
	c.backing_id = 602; c.padding = 1;
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == -1 && errno == EINVAL);
	c.padding = 0; c.spare[0] = 1;
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == -1 && errno == EINVAL);
	c.spare[0] = 0;
	set_rawio(false);
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == -1 && errno == EPERM);
	set_rawio(true);
	close(c.fd);
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == -1 && errno == EBADF);
	c.fd = open(devs[0], O_RDONLY);
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == -1 && errno == EACCES);
	close(c.fd);
	struct fuse_daxdev_register_in r = { .fd = open(devs[0], O_RDWR) };
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_DAXDEV_REGISTER, &r) == -1 && errno == EOPNOTSUPP, "the other method");
	close(r.fd);
	c.fd = open("/dev/null", O_RDWR); c.backing_id = 600;
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == -1 && errno == ENODEV);
	close(c.fd);
	c.fd = open("/tmp/back", O_RDWR | O_CREAT, 0600); c.backing_id = 601;
	CHECK(pwrite(c.fd, "passthrough", 12, 0) == 12);
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == 0);
	struct fuse_backing_map old = { .fd = c.fd };
	CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_OPEN, &old) == -1 && errno == EINVAL);
	close(c.fd);
	struct file *pt = new_file("passthrough", 12);
	char b[12];
	pt->backing = 601;
	fd = open_file(pt, O_RDONLY);
	CHECK(fd >= 0);
	CHECK(read(fd, b, 12) == 12 && !strcmp(b, "passthrough"));
	close(fd);
}

static void test_withdraw(void)
{
	struct file *f = new_file("remade", 0);
	int fd, fd2;
	char *p, b[8];

	say("withdrawn and made anew");
	map_simple(f, 4 * MIB, 0, 200 * MIB, 4 * MIB);
	fd = open_file(f, O_RDWR);
	p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	strcpy(p, "old");
	strcpy(p + 3 * MIB, "old");
	CHECK(inval(f) == 0);
	CHECK(touch(p, 0) == BUS_ADRERR, "%d", sig.si_code);
	CHECK(pread(fd, b, 4, 0) == -1 && errno == ESTALE);
	CHECK(pwrite(fd, b, 4, 0) == -1 && errno == ESTALE);
	CHECK(mmap(NULL, MIB, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == ESTALE);
	map_simple(f, 2 * MIB, 0, 208 * MIB, 2 * MIB);
	struct stat st;
	stat(MNT "/remade", &st);
	fd2 = open_file(f, O_RDWR);
	CHECK(fd2 >= 0);
	CHECK(pwrite(fd2, "new", 4, 0) == 4);
	CHECK(!strcmp(p, "new"));
	CHECK(fstat(fd2, &st) == 0 && st.st_size == (off_t)(2 * MIB), "%lld", (long long)st.st_size);
	munmap(p, 4 * MIB);
	close(fd);

	say("the server changes its mind about the size");
	f->size = MIB;
	CHECK(inval(f) == 0);
	close(fd2);
	usleep(50000);
	map_simple(f, 2 * MIB, 0, 208 * MIB, 2 * MIB);
	fd = open_file(f, O_RDWR);
	CHECK(fd >= 0);
	f->size = MIB;
	usleep(1100000);
	stat(MNT "/remade", &st);
	CHECK(pread(fd, b, 4, 0) == -1 && errno == ESTALE);
	close(fd);
	CHECK(inval(f) == 0);
}

static void test_failure(void)
{
	struct file *f = new_file("poison", 0);
	long fallback;
	uint64_t phys;
	int fd, ws;
	char *p, b[8192];

	say("memory error under a mapped file");
	map_simple(f, 8 * MIB, 0, 400 * MIB, 8 * MIB);
	fd = open_file(f, O_RDWR);
	p = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	memset(p, 1, 8 * MIB);
	phys = phys_of(p + 2 * MIB + 5 * 4096);
	printf("   physical address %#llx\n", (unsigned long long)phys);
	CHECK(phys != 0);
	pid_t child = fork();
	if (!child) {
		/* only reads other pages: must live */
		for (int i = 0; i < 30; i++) {
			if (touch(p + 4 * MIB, 0) || touch(p + 2 * MIB + 6 * 4096, 0) || touch(p + 2 * MIB, 1))
				_exit(1);
			usleep(20000);
		}
		_exit(0);
	}
	fallback = stat_of("failures");
	signal(SIGBUS, SIG_IGN);
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER };
	sigaction(SIGBUS, &sa, NULL);
	int code = 0;
	if (!sigsetjmp(jump, 1))
		CHECK(write_file("/sys/devices/system/memory/hard_offline_page", "%#llx", (unsigned long long)phys) == 0);
	else
		code = sig.si_code;
	printf("   signal of the error itself: code %d\n", code);
	CHECK(stat_of("failures") == fallback + 1);
	CHECK(touch(p + 2 * MIB + 5 * 4096 + 100, 0) == BUS_MCEERR_AR, "code %d", sig.si_code);
	CHECK((char *)sig.si_addr >= p + 2 * MIB + 5 * 4096 && (char *)sig.si_addr < p + 2 * MIB + 6 * 4096);
	CHECK(touch(p + 2 * MIB + 5 * 4096, 1) == BUS_MCEERR_AR);
	CHECK(touch(p + 2 * MIB + 4 * 4096, 1) == 0);
	CHECK(touch(p + 2 * MIB + 6 * 4096, 1) == 0);
	CHECK(touch(p + 2 * MIB, 1) == 0 && touch(p + 4 * MIB - 1, 1) == 0);
	CHECK(touch(p, 1) == 0 && touch(p + 4 * MIB, 1) == 0);
	CHECK(pread(fd, b, 100, 2 * MIB + 5 * 4096 + 7) == -1 && errno == EIO);
	CHECK(pwrite(fd, b, 100, 2 * MIB + 5 * 4096 + 7) == -1 && errno == EIO);
	CHECK(pread(fd, b, 8192, 2 * MIB + 4 * 4096) == 4096);
	CHECK(pread(fd, b, 4096, 2 * MIB + 6 * 4096) == 4096 && b[5] == 1);
	waitpid(child, &ws, 0);
	CHECK(WIFEXITED(ws) && !WEXITSTATUS(ws), "status %#x", ws);
	char line[64];
	snprintf(line, sizeof(line), "failed %#llx-%#llx", 402 * MIB + 5 * 4096, 402 * MIB + 6 * 4096 - 1);
	CHECK(file_has("/sys/kernel/debug/fuse_dax/devices", line), "%s", line);
	fd = open_file(f_simple, O_RDONLY);
	CHECK(pread(fd, b, 4096, 0) == 4096);

	say("memory error in free space and under a file that is not mapped");
	uint64_t base = phys - (402 * MIB + 5 * 4096);
	if (!sigsetjmp(jump, 1))
		CHECK(write_file("/sys/devices/system/memory/hard_offline_page", "%#llx",
				 (unsigned long long)(base + 420 * MIB)) == 0);
	f = new_file("later", 0);
	map_simple(f, 4 * MIB, 0, 420 * MIB, 4 * MIB);
	fd = open_file(f, O_RDWR);
	CHECK(pread(fd, b, 4096, 0) == -1 && errno == EIO);
	CHECK(pread(fd, b, 4096, 4096) == 4096);
	write_file("/sys/devices/system/memory/hard_offline_page", "%#llx", (unsigned long long)(base + 421 * MIB));
	CHECK(pread(fd, b, 4096, MIB) == -1 && errno == EIO);
	p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(touch(p + MIB, 0) == BUS_MCEERR_AR && touch(p + MIB + 4096, 1) == 0);

	say("madvise(MADV_HWPOISON)");
	code = 0;
	if (!sigsetjmp(jump, 1))
		CHECK(madvise(p + 3 * MIB, 4096, MADV_HWPOISON) == 0);
	else
		code = sig.si_code;
	printf("   signal: code %d\n", code);
	CHECK(touch(p + 3 * MIB, 0) == BUS_MCEERR_AR && touch(p + 3 * MIB + 4096, 1) == 0);
	munmap(p, 4 * MIB);
}

static void sysfs_unbind(const char *dev)
{
	CHECK(write_file("/sys/bus/dax/drivers/fsdev_dax/unbind", "%s", strrchr(dev, '/') + 1) == 0);
}

static void test_unbind(void)
{
	struct file *f = new_file("unbind", 0);
	int fd, ws;
	char *p, b[8];
	int go[2];

	say("unbind of the device under live mappings");
	map_simple(f, 8 * MIB, 0, 440 * MIB, 8 * MIB);
	fd = open_file(f, O_RDWR);
	CHECK(fd >= 0);
	pipe(go);
	pid_t child = fork();
	if (!child) {
		signal(SIGBUS, SIG_DFL);
		p = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		memset(p, 1, 8 * MIB);
		write(go[1], "x", 1);
		for (;;)
			usleep(1000);
	}
	read(go[0], b, 1);
	p = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memset(p + 2 * MIB, 2, 4096);
	if (!sigsetjmp(jump, 1))
		sysfs_unbind(devs[0]);
	waitpid(child, &ws, 0);
	CHECK(WIFSIGNALED(ws) && WTERMSIG(ws) == SIGBUS, "status %#x", ws);
	CHECK(touch(p + 2 * MIB, 1) == BUS_ADRERR, "code %d", sig.si_code);
	CHECK(touch(p, 0) == BUS_ADRERR, "code %d", sig.si_code);
	CHECK(pread(fd, b, 4, 0) == -1, "read after unbind");
	CHECK(open_file(f, O_RDWR) == -1, "open after unbind");
	munmap(p, 8 * MIB);
	close(fd);
	CHECK(write_file("/sys/bus/dax/drivers/fsdev_dax/bind", "%s", strrchr(devs[0], '/') + 1) == 0);
	CHECK(!file_has("/sys/kernel/debug/fuse_dax/devices", "failed"));
	if (method == 'a') {
		fd = open_file(f, O_RDWR);
		CHECK(fd >= 0, "open after the device is back");
		CHECK(pread(fd, b, 4, 0) == 4);
		close(fd);
	}
}

static void test_daemon_death(void)
{
	struct file *f = new_file("alive", 0);
	int fd;
	char *p;

	say("the connection ends under live mappings");
	map_simple(f, 4 * MIB, ndevs - 1, 460 * MIB, 4 * MIB);
	fd = open_file(f, O_RDWR);
	CHECK(fd >= 0);
	p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	strcpy(p, "x");
	CHECK(umount(MNT) == -1 && errno == EBUSY);
	CHECK(umount2(MNT, MNT_FORCE) == -1);
	CHECK(open_file(f, O_RDONLY) == -1 && (errno == ENOTCONN || errno == ECONNABORTED));
	CHECK(touch(p + 3 * MIB, 1) == 0 && !strcmp(p, "x"));
	CHECK(pread(fd, p + MIB, 2, 0) == 2);
	CHECK(umount2(MNT, MNT_DETACH) == 0);
	CHECK(touch(p + 2 * MIB, 1) == 0);

	say("mounted again while the old mapping lives");
	close(fusefd);
	CHECK(do_mount() == 0);
	int e = nfiles;
	if (method == 'e') {
		for (int i = 0; i < ndevs; i++) {
			struct fuse_backing_create_in c = { .fd = open(devs[i], O_RDWR), .backing_id = i + 1 };
			CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == 0);
			close(c.fd);
		}
	}
	map_simple(f, 4 * MIB, ndevs - 1, 460 * MIB, 4 * MIB);
	map_simple(f_simple, 64 * MIB, 0, 64 * MIB, 64 * MIB);
	CHECK(open_file(f, O_RDWR) == -1 && errno == EBUSY);
	munmap(p, 4 * MIB);
	close(fd);
	usleep(300000);
	fd = open_file(f, O_RDWR);
	CHECK(fd >= 0 && e);
	p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(!strcmp(p, "x"));
	munmap(p, 4 * MIB);
	close(fd);
}

static void test_many(void)
{
	static struct file *f[32];
	int fd[32];

	say("many files, drop_caches");
	for (int i = 0; i < 16; i++) {
		char name[16];
		snprintf(name, sizeof(name), "many%d", i);
		f[i] = new_file(name, 0);
		map_simple(f[i], 2 * MIB, ndevs - 1, (700 + 2 * i) * MIB, 2 * MIB);
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 16; i++) {
			fd[i] = open_file(f[i], O_RDWR);
			CHECK(fd[i] >= 0);
			char *p = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd[i], 0);
			p[i] = round;
			munmap(p, 2 * MIB);
		}
		for (int i = 0; i < 16; i++)
			close(fd[i]);
		write_file("/proc/sys/vm/drop_caches", "3");
	}
	long dropped = stat_of("maps_dropped");
	sync();
	write_file("/proc/sys/vm/drop_caches", "3");
	printf("   maps dropped by drop_caches after sync: %ld\n", stat_of("maps_dropped") - dropped);
}

static void test_no_rawio(void)
{
	struct file *f;
	int fd;

	say("mounted without CAP_SYS_RAWIO, by a server that accepts what was not offered");
	set_rawio(false);
	accept_unoffered = true;
	int err = do_mount();
	CHECK(err == 0, "mount: %s", strerror(-err));
	accept_unoffered = false;
	CHECK(!(offered & FUSE_DAX_FMAP));
	if (method == 'a') {
		f = new_file("ordinary", 0);
		map_simple(f, 2 * MIB, 0, 512 * MIB, 2 * MIB);
		fd = open_file(f, O_RDWR);
		CHECK(fd >= 0 && count[FUSE_GET_FMAP] == 0);
		close(fd);
	}
	set_rawio(true);
	usleep(100000);
	CHECK(umount(MNT) == 0);
	usleep(300000);
	close(fusefd);
	nfiles = 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER };

	if (argc < 3 || (argv[1][0] != 'a' && argv[1][0] != 'e')) {
		fprintf(stderr, "usage: mapsrv a|e DEVICE [DEVICE2]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	method = argv[1][0];
	for (int i = 2; i < argc && ndevs < 2; i++)
		devs[ndevs++] = argv[i];
	sigaction(SIGBUS, &sa, NULL);

	test_no_rawio();
	say("mount, method (%c)", method);
	int err = do_mount();
	CHECK(err == 0, "mount: %s", strerror(-err));
	if (err)
		return 1;
	CHECK(offered & FUSE_DAX_FMAP);
	CHECK(offered & FUSE_PASSTHROUGH_V2);
	if (method == 'e') {
		for (int i = 0; i < ndevs; i++) {
			struct fuse_backing_create_in c = { .fd = open(devs[i], O_RDWR), .backing_id = i + 1 };
			CHECK(ioctl(fusefd, FUSE_DEV_IOC_BACKING_CREATE, &c) == 0);
			close(c.fd);
		}
	}
	test_basic();
	test_exec();
	test_interleave();
	if (method == 'a')
		test_wrong_a();
	else
		test_wrong_e();
	test_withdraw();
	test_many();
	test_daemon_death();
	test_failure();
	system("cat /sys/kernel/debug/fuse_dax/stats | tr '\\n' ' '; echo; cat /sys/kernel/debug/fuse_dax/devices");
	test_unbind();
	/* Else the exit would wait for an answer of this very process to FLUSH */
	umount2(MNT, MNT_FORCE);
	umount2(MNT, MNT_DETACH);
	printf("mapsrv %c: %d passed, %d failed\n", method, passed, failed);
	return failed ? 1 : 0;
}
