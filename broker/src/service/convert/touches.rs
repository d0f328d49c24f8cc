//! Touches of files on the wire.

use mesh_core::record::TouchKind;
use mesh_core::target::Target;
use mesh_proto::v1 as pb;

/// A file that was read or edited.
pub(crate) fn touch((path, kind): &(Target, TouchKind)) -> pb::Touch {
    let kind = match kind {
        TouchKind::Read => pb::TouchKind::Read,
        TouchKind::Edit => pb::TouchKind::Edit,
    };
    pb::Touch { path: path.to_string(), kind: kind.into() }
}
