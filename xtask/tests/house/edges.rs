//! Which crate of ours may depend on which. The reasons for the walls are in `ARCHITECTURE.md`.

use cargo_metadata::{DependencyKind, Metadata, Package};

/// A crate of ours, and the crates of ours that it may depend on, without the `mainstay-` before their names.
///
/// Dependencies for tests alone are free: a test may look at two rooms at once.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("plan", &[]),
    ("api", &[]),
    ("store", &[]),
    ("backups", &[]),
    ("engine", &["plan"]),
    ("providers", &["plan", "backups"]),
    ("web", &["plan"]),
    ("traffic", &["plan", "web"]),
    ("wire", &["plan"]),
    ("host", &["plan", "providers", "store", "api", "wire"]),
    ("sim", &["plan", "engine"]),
    ("agent", &["plan", "engine", "host", "store", "api", "web", "wire"]),
    (
        "cli",
        &["plan", "engine", "providers", "traffic", "store", "backups", "api", "wire", "host", "sim", "agent", "pgkit"],
    ),
    ("pgkit", &[]),
    ("xtask", &[]),
];

/// The crates of ours that `package` needs to be built: normal and build dependencies, optional ones too.
pub(crate) fn of(package: &Package, metadata: &Metadata) -> Vec<String> {
    let ours: Vec<_> = metadata.workspace_packages().into_iter().map(|package| package.name.to_string()).collect();
    let mut edges: Vec<String> = package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development && ours.contains(&dependency.name))
        .map(|dependency| dependency.name.clone())
        .collect();
    edges.sort();
    edges.dedup();
    edges
}

/// Complains about each edge from `package` that the table doesn't have.
pub(crate) fn check(package: &str, edges: &[String]) -> Vec<String> {
    let Some(allowed) = row(package) else {
        return vec![format!(
            "{package} is not in the house: decide what it may depend on, add a row to MAY_DEPEND_ON in \
             xtask/tests/house/edges.rs, and say in ARCHITECTURE.md why the room is needed"
        )];
    };
    edges
        .iter()
        .filter(|edge| !allowed.contains(&room(edge)))
        .map(|edge| {
            let may = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
            format!("{package} depends on {edge}; it may depend on {may}")
        })
        .collect()
}

fn row(package: &str) -> Option<&'static [&'static str]> {
    MAY_DEPEND_ON.iter().find(|(name, _)| *name == room(package)).map(|(_, allowed)| *allowed)
}

fn room(package: &str) -> &str {
    package.strip_prefix("mainstay-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::{MAY_DEPEND_ON, check};

    #[test]
    fn an_edge_through_a_wall_is_named() {
        let complaints = check("mainstay-engine", &["mainstay-plan".to_owned(), "mainstay-providers".to_owned()]);
        assert_eq!(complaints, ["mainstay-engine depends on mainstay-providers; it may depend on plan"]);
    }

    #[test]
    fn the_lowest_rooms_depend_on_nothing_of_ours() {
        for package in ["mainstay-plan", "mainstay-api", "mainstay-store", "xtask"] {
            let complaints = check(package, &["mainstay-plan".to_owned()]);
            assert!(complaints[0].ends_with("it may depend on nothing of ours"), "{complaints:?}");
        }
    }

    #[test]
    fn a_room_nobody_knows_is_told_where_to_be_added() {
        let complaints = check("mainstay-attic", &[]);
        assert!(complaints[0].contains("add a row to MAY_DEPEND_ON"), "{complaints:?}");
    }

    #[test]
    fn allowed_edges_pass() {
        assert!(check("mainstay-host", &["mainstay-api".to_owned(), "mainstay-store".to_owned()]).is_empty());
    }

    #[test]
    fn every_name_in_the_table_has_a_row() {
        for (_, allowed) in MAY_DEPEND_ON {
            for room in *allowed {
                assert!(MAY_DEPEND_ON.iter().any(|(name, _)| name == room), "{room} has no row");
            }
        }
    }
}
