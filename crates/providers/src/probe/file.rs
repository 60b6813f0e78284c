//! The age of a file.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mainstay_plan::observation::Answer;
use rustix::io::Errno;

use crate::{Inner, ProbeAnswer, trouble};

pub(super) async fn ask(inner: &Inner, path: &Path, max_age: Duration) -> ProbeAnswer {
    let file = path.to_owned();
    let key = format!("read {}", path.display());
    match inner.gates.run(key, move || std::fs::metadata(file)?.modified()).await {
        Ok(modified) => {
            // A time in the future is a clock that was set; the file was changed just now as far as anyone can tell.
            let age = SystemTime::now().duration_since(modified).unwrap_or_default();
            let answer = match age <= max_age {
                true => Answer::Good,
                false => Answer::Wrong(format!("changed {:.1?} ago, may be {max_age:?}", age)),
            };
            ProbeAnswer { lag: Some(age), ..answer.into() }
        }
        Err(error) => unreadable(path, &error).into(),
    }
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Answer {
    let text = trouble::clip(&format!("{}: {}", path.display(), trouble::describe(error)));
    match Errno::from_io_error(error) {
        // The file system is part of what is asked: a stale handle or an unreadable disk is its failure.
        Some(Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::IO) => Answer::Refused(text),
        Some(_) | None => Answer::CouldNotAsk(text),
    }
}
