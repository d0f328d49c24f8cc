//! Touches of files on the wire.

use std::collections::BTreeSet;

use mesh_core::Rejection;
use mesh_core::command::Touch;
use mesh_core::limits;
use mesh_core::record::TouchKind;
use mesh_core::target::Target;
use mesh_proto::v1 as pb;

use super::{at_most, text};

/// What a TouchFiles reports.
pub(crate) fn touch_files(request: pb::TouchFilesRequest) -> Result<Touch, Rejection> {
    if request.touches.is_empty() {
        let problem = format!("is empty; name 1 to {} files", limits::TOUCHES);
        return Err(Rejection::invalid("touches", problem));
    }
    at_most("touches", request.touches.len(), limits::TOUCHES)?;
    let branch = text("branch", request.branch, limits::NAME_TEXT_BYTES)?;
    let worktree = text("worktree", request.worktree, limits::WORKTREE_BYTES)?;
    let mut seen = BTreeSet::new();
    let mut touches = Vec::with_capacity(request.touches.len());
    for touch in &request.touches {
        let touch = (Target::parse("touches.path", &touch.path)?, kind(touch.kind)?);
        if seen.insert(touch.clone()) {
            touches.push(touch);
        }
    }
    let told = |text: String| (!text.is_empty()).then_some(text);
    Ok(Touch { touches, branch: told(branch), worktree: told(worktree) })
}

fn kind(value: i32) -> Result<TouchKind, Rejection> {
    match pb::TouchKind::try_from(value) {
        Ok(pb::TouchKind::Read) => Ok(TouchKind::Read),
        Ok(pb::TouchKind::Edit) => Ok(TouchKind::Edit),
        Ok(pb::TouchKind::Unspecified) | Err(_) => {
            Err(Rejection::invalid("touches.kind", format!("has no value {value}; say READ or EDIT")))
        }
    }
}

/// A file that was read or edited.
pub(crate) fn touch((path, kind): &(Target, TouchKind)) -> pb::Touch {
    let kind = match kind {
        TouchKind::Read => pb::TouchKind::Read,
        TouchKind::Edit => pb::TouchKind::Edit,
    };
    pb::Touch { path: path.to_string(), kind: kind.into() }
}
