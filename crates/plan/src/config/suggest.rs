//! The nearest name: what was probably meant by a name that nothing has.

/// The one of `names` that is nearest to `name`, if any is near enough to be what was meant. Case and the difference
/// between `-`, `_` and a blank count for nothing. If none is, the only one that has it as some of its words: `restart` is
/// short for `restart_service`.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = folded(name);
    let allowed = (wanted.len() / 3).clamp(1, 3);
    let mut best: Option<(usize, &str)> = None;
    let mut longer: Option<&str> = None;
    let mut several = false;
    for candidate in names {
        let other = folded(candidate);
        if is_part(&wanted, &other) {
            several |= longer.is_some_and(|it| it != candidate);
            longer = Some(candidate);
        }
        if wanted.len().abs_diff(other.len()) > allowed || other.is_empty() {
            continue;
        }
        let distance = distance(&wanted, &other);
        // Something must be left of the word: `to` is no misspelling of `a`.
        let near = distance <= allowed && distance * 2 <= wanted.len().max(other.len());
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, name)| name).or(longer.filter(|_| !several))
}

/// Whether `name` is words of the longer name `other`, which `_` or `.` keeps apart. Two letters may be words of anything.
fn is_part(name: &[char], other: &[char]) -> bool {
    let ends = |at: usize| other.get(at).is_none_or(|it| matches!(it, '_' | '.'));
    let begins = |at: usize| at == 0 || ends(at - 1);
    (3..other.len()).contains(&name.len())
        && (0..=other.len() - name.len())
            .any(|at| begins(at) && ends(at + name.len()) && other[at..at + name.len()] == *name)
}

/// At most 64 characters: longer names are no slips of the finger.
fn folded(name: &str) -> Vec<char> {
    name.chars().take(64).map(|it| if matches!(it, '-' | ' ') { '_' } else { it.to_ascii_lowercase() }).collect()
}

/// Edits (insert, delete, replace, swap of neighbours) from one to the other: the optimal string alignment distance.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, left) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, right) in to.iter().enumerate() {
            let replace = above[column] + usize::from(left != right);
            let mut least = replace.min(above[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && *left == to[column - 1] && from[row - 1] == *right {
                least = least.min(before[column - 1] + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["interval", "timeout", "fall", "rise"];
        let near = |name| nearest(name, names.into_iter());
        assert_eq!(near("intervall"), Some("interval"));
        assert_eq!(near("tiemout"), Some("timeout"));
        assert_eq!(near("Timeout"), Some("timeout"));
        assert_eq!(near("fal"), Some("fall"));
        assert_eq!(near("xyz"), None);
        assert_eq!(near(""), None);
        let names = ["restart_service", "availability_zone_failure", "region_failure"];
        let near = |name| nearest(name, names.into_iter());
        assert_eq!(near("restart"), Some("restart_service"));
        assert_eq!(near("zone-failure"), Some("availability_zone_failure"));
        assert_eq!(near("failure"), None, "two have it");
        assert_eq!(near("start"), None, "no word of its own");
    }
}
