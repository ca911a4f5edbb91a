//! Where the paths of exports lead: each to a file of its own.
//!
//! Blocking. The configuration tells paths apart; a link that is made later can lead two to one.

use std::path::{Path, PathBuf};

use super::Settings;
use super::file::{directory_of, follow};

/// The exports by name, each with its path.
pub(super) type Places = Vec<(String, PathBuf)>;

/// The file that a path leads to, which need not be there.
fn leads_to(path: &Path) -> Option<PathBuf> {
    let file = follow(path).ok()?;
    Some(directory_of(&file).canonicalize().ok()?.join(file.file_name()?))
}

/// The export whose file the path of this one leads to, if there is such. Of two whose paths lead
/// to one file, it is the file of the one that is no link, or of the first.
pub(super) fn taken<'a>(settings: &Settings, places: &'a Places) -> Option<&'a str> {
    let file = leads_to(&settings.path)?;
    let rank = |path: &Path| {
        let is_elsewhere = std::path::absolute(path).ok().as_ref() != Some(&file);
        (path.is_symlink(), is_elsewhere)
    };
    let own = places.iter().position(|(name, _)| *name == settings.name)?;
    let mine = (rank(&settings.path), own);
    let mut others = places.iter().enumerate().filter(|(number, _)| *number != own);
    let before = others.find(|(number, (_, path))| {
        leads_to(path).as_ref() == Some(&file) && (rank(path), *number) < mine
    });
    before.map(|(_, (name, _))| &**name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::export::test;

    #[test]
    fn a_file_is_of_one_export() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (link, to) in [("b", "a"), ("far", "."), ("one", "two"), ("three", "two")] {
            symlink(to, path(link)).unwrap();
        }
        for (names, expected) in [
            (["a", "c"], [None, None]),
            (["a", "b"], [None, Some("a")]),
            (["b", "a"], [Some("a"), None]),
            (["a", "far/a"], [None, Some("a")]),
            (["far/a", "b"], [None, Some("far/a")]),
            (["b", "far/a"], [Some("far/a"), None]),
            (["one", "three"], [None, Some("one")]),
        ] {
            let places: Places = names.map(|name| (name.to_owned(), path(name))).into();
            let taken = names.map(|name| {
                let settings = Settings { name: name.to_owned(), ..test::settings(&path(name)) };
                taken(&settings, &places).map(str::to_owned)
            });
            assert_eq!(taken, expected.map(|name| name.map(str::to_owned)), "{names:?}");
        }
    }
}
