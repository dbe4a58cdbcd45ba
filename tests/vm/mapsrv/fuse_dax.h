/* SPDX-License-Identifier: Apache-2.0 */
/* What kernel-config/patches add to <linux/fuse.h>. */
#ifndef FUSE_DAX_H
#define FUSE_DAX_H

#include <linux/fuse.h>
#include <stdint.h>

#define FUSE_PASSTHROUGH_V2 (1ULL << 45)
#define FUSE_DAX_FMAP (1ULL << 62)

/* --- method (a) --- */

#define FUSE_GET_FMAP 54
#define FUSE_GET_DAXDEV 55

struct fuse_famfs_fmap_header {
	uint8_t file_type;
	uint8_t reserved;
	uint16_t fmap_version;
	uint32_t ext_type;
	uint32_t nextents;
	uint32_t reserved0;
	uint64_t file_size;
	uint64_t reserved1;
};

struct fuse_famfs_simple_ext {
	uint32_t se_devindex;
	uint32_t reserved;
	uint64_t se_offset;
	uint64_t se_len;
};

struct fuse_famfs_iext {
	uint32_t ie_nstrips;
	uint32_t ie_chunk_size;
	uint64_t ie_nbytes;
	uint64_t reserved;
};

struct fuse_daxdev_out {
	uint16_t index;
	uint16_t reserved;
	uint32_t reserved2;
	uint64_t reserved3;
	uint64_t reserved4;
	char name[256];
};

struct fuse_daxdev_register_in {
	int32_t fd;
	uint32_t index;
	uint64_t spare[2];
};

#define FUSE_DEV_IOC_DAXDEV_REGISTER _IOW(229, 62, struct fuse_daxdev_register_in)

/* --- method (e) --- */

#define FUSE_NOTIFY_BACKING_REMOVE 10
#define FUSE_NOTIFY_BACKING_MAP 11

#define FUSE_BACKING_MAP_CREATE 1
#define FUSE_BACKING_MAP_CYCLIC 2

/* fuse_open_out with a 64 bit backing id */
struct fuse_open_out_v2 {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
	uint64_t backing_id_64;
};

struct fuse_backing_create_in {
	int32_t fd;
	uint32_t padding;
	uint64_t backing_id;
	uint64_t spare[2];
};

#define FUSE_DEV_IOC_BACKING_CREATE _IOW(229, 4, struct fuse_backing_create_in)

struct fuse_extent {
	uint64_t offset;
	uint64_t length;
	uint64_t backing_id;
	uint64_t addr;
	uint64_t reserved[2];
};

struct fuse_notify_backing_map_out {
	uint64_t backing_id;
	uint32_t num_extents;
	uint32_t flags;
	uint64_t reserved[2];
};

struct fuse_notify_backing_remove_out {
	uint64_t backing_id;
	uint64_t reserved;
};

#endif
