// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mapsrv/session.h"

// The groups of checks. Each runs alone on a fresh mount and finds devices without failed pages.
namespace mapsrv {

void check_access(Session& session);
void check_pmd(Session& session);
void check_copy_to_itself(Session& session);
void check_ends(Session& session);

void check_sharing(Session& session);
void check_exec(Session& session);

void check_interleave(Session& session);
void check_many(Session& session);

void check_wrong_fmaps(Session& session);
void check_large_fmap(Session& session);
void check_registration(Session& session);
void check_withdrawn_early(Session& session);

void check_wrong_backing_maps(Session& session);
void check_backing_use(Session& session);
void check_backing_ids(Session& session);

void check_withdraw(Session& session);
void check_changed_size(Session& session);

void check_sync(Session& session);

void check_disconnect(Session& session);
void check_no_rawio(Session& session);

void check_failure(Session& session);
void check_unbind(Session& session);

}  // namespace mapsrv
