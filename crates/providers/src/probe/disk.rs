//! The room that is left on a file system.

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::DiskProbe;

use super::file::unreadable;
use crate::{Inner, trouble};

const MIB: u128 = 1024 * 1024;

pub(super) async fn ask(inner: &Inner, probe: &DiskProbe) -> Answer {
    let path = probe.path.clone();
    let key = format!("statvfs {}", path.display());
    match inner.gates.run(key, move || Ok(rustix::fs::statvfs(path)?)).await {
        Ok(found) => {
            let block = u128::from(found.f_frsize);
            let room = Room {
                free: u128::from(found.f_bavail) * block,
                size: u128::from(found.f_blocks) * block,
                // Where inodes are made as they are needed there is no number of them.
                inodes: (found.f_files > 0).then_some(found.f_favail),
            };
            room.judge(probe)
        }
        Err(error) => unreadable(&probe.path, &error),
    }
}

/// Of a file system, for those who are not root.
struct Room {
    /// In bytes.
    free: u128,
    /// Of all of it, in bytes.
    size: u128,
    /// How many are free; `None`: there is no limit.
    inodes: Option<u64>,
}

impl Room {
    fn judge(&self, probe: &DiskProbe) -> Answer {
        let enough_mib = probe.free_mib.is_none_or(|it| self.free >= u128::from(it) * MIB);
        let enough_share = probe.free_ppm.is_none_or(|it| self.free * 1_000_000 >= self.size * u128::from(it));
        let needed = probe.free_inodes.map(u64::from);
        let enough_inodes = needed.zip(self.inodes).is_none_or(|(needed, free)| free >= needed);
        if enough_mib && enough_share && enough_inodes {
            return Answer::Good;
        }
        let share = (self.free * 1000).checked_div(self.size).unwrap_or_default();
        let inodes = self.inodes.filter(|_| !enough_inodes).map(|it| format!(", and {it} inodes"));
        Answer::Wrong(trouble::clip(&format!(
            "{} has {} MiB ({}.{} %) free{}",
            probe.path.display(),
            self.free / MIB,
            share / 10,
            share % 10,
            inodes.unwrap_or_default()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_asked_for_must_be_there() {
        let room = Room { free: 50 * MIB, size: 1000 * MIB, inodes: Some(7) };
        let probe =
            |free_mib, free_ppm, free_inodes| DiskProbe { path: "/data".into(), free_mib, free_ppm, free_inodes };
        for (mib, ppm, inodes) in [(Some(50), None, None), (None, Some(50_000), Some(7)), (Some(1), Some(1), None)] {
            assert_eq!(room.judge(&probe(mib, ppm, inodes)), Answer::Good);
        }
        let short = "/data has 50 MiB (5.0 %) free";
        for (mib, ppm) in [(Some(51), None), (None, Some(50_001)), (Some(1), Some(60_000)), (Some(60), Some(1))] {
            assert_eq!(room.judge(&probe(mib, ppm, Some(1))), Answer::Wrong(short.to_owned()));
        }
        let inodes = probe(Some(1), None, Some(8));
        assert_eq!(room.judge(&inodes), Answer::Wrong(format!("{short}, and 7 inodes")));
        assert_eq!(Room { inodes: None, ..room }.judge(&inodes), Answer::Good, "who has no limit has room");
    }
}
