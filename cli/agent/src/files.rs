//! The names of paths in their checkouts.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::desk::Desk;
use crate::problem::Problem;
use crate::project::Project;

/// Files of one tool call that are looked at.
const FILES: usize = 500;

/// The files of one tool call that are in one checkout, each with something about it.
#[derive(Debug)]
pub(crate) struct Group<T> {
    /// The checkout.
    pub(crate) project: Rc<Project>,
    /// Scope-relative names.
    pub(crate) files: Vec<(String, T)>,
}

/// Paths by checkout, without what is nobody's business and what is in projects without hooks.
pub(crate) fn by_checkout<T>(desk: &Desk, paths: impl IntoIterator<Item = (PathBuf, T)>) -> Vec<Group<T>> {
    let mut groups: Vec<Group<T>> = Vec::new();
    for (path, what) in paths.into_iter().take(FILES) {
        // The checkout that the path leads to, not that in which the session was started.
        let target = real(&desk.call.cwd.join(path));
        let known = groups.iter().position(|group| is_of(&group.project, &target));
        let at = match known {
            Some(at) => at,
            None => match checkout(desk, &target) {
                Ok(project) if project.settings.hooks => {
                    groups.push(Group { project, files: vec![] });
                    groups.len() - 1
                }
                Ok(_) | Err(_) => continue,
            },
        };
        if let Some(name) = groups[at].project.name(&target)
            && groups[at].files.iter().all(|(known, _)| *known != name)
        {
            groups[at].files.push((name, what));
        }
    }
    groups.retain(|group| !group.files.is_empty());
    groups
}

/// The checkout that a path is in: mostly that of the session.
fn checkout(desk: &Desk, target: &Path) -> Result<Rc<Project>, Problem> {
    if is_of(&desk.project, target) {
        return Ok(Rc::clone(&desk.project));
    }
    desk.project_of(target).map(Rc::new)
}

/// Whether a path is in a checkout, and in none nested in that.
fn is_of(project: &Project, path: &Path) -> bool {
    let mut between = path.ancestors().skip(1).take_while(|directory| **directory != *project.root);
    project.holds(path) && !between.any(|directory| directory.join(".git").exists())
}

/// A path with its symbolic links followed, as far as it exists.
fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}
