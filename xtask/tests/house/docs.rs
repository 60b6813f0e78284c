//! The pages that list what the code has: a reason to wait or a kind of record that is new, renamed or gone must not leave
//! its page behind. Sources are read as text, so that this test depends on no crate of ours.

/// The words that a `match` of the function `name` answers: `Body::Held { .. } => "held",`.
pub(crate) fn words<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let head = format!("fn {name}(&self)");
    let lines = source.lines().skip_while(|line| !line.contains(&head)).skip(1);
    // The function ends at the first line that closes an item of an `impl`.
    lines.take_while(|line| *line != "    }").filter_map(|line| line.split_once("=> \"")?.1.split('"').next()).collect()
}

/// Complains about each word without a row in a table of the page, and about each row for a word that the code lacks.
/// `heading` opens the table: the first cell of its first row.
pub(crate) fn check(page: &str, text: &str, heading: &str, words: &[&str]) -> Vec<String> {
    let opening = format!("| {heading} |");
    let table = text.lines().skip_while(|line| !line.starts_with(&opening)).skip(2);
    let rows: Vec<&str> = table.map_while(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let missing = words.iter().filter(|word| !rows.contains(word));
    let stale = rows.iter().filter(|row| !words.contains(row));
    missing
        .map(|word| format!("{page}: its table of `{heading}` has no row for `{word}`"))
        .chain(stale.map(|row| format!("{page}: its table of `{heading}` has a row for `{row}`, which the code lacks")))
        .collect()
}

/// The sources that a page names: `` `crates/…/name.rs` ``, also without the `crates/`.
pub(crate) fn sources_named(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|it| it.contains('/') && it.ends_with(".rs") && !it.contains(char::is_whitespace)).collect()
}

#[cfg(test)]
mod tests {
    use super::{check, sources_named, words};

    const SOURCE: &str = "impl B {\n    pub const fn kind(&self) -> &str {\n        match self {\n            B::A => \"a\",\n            B::C { .. } => \"c\",\n        }\n    }\n    fn other(&self) { \"x => \\\"y\\\"\" }\n}\n";

    #[test]
    fn words_are_those_of_the_function_alone() {
        assert_eq!(words(SOURCE, "kind"), ["a", "c"]);
        assert!(words(SOURCE, "absent").is_empty());
    }

    #[test]
    fn a_missing_and_a_stale_row_are_named() {
        let page = "text `c`\n\n| kind | x |\n|---|---|\n| `a` | 1 |\n| `b` | 2 |\n\n| `c` | elsewhere |\n";
        let complaints = check("page.md", page, "kind", &["a", "c"]);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].contains("no row for `c`") && complaints[1].contains("a row for `b`"), "{complaints:?}");
    }

    #[test]
    fn sources_are_found_in_code_font() {
        assert_eq!(
            sources_named("see `engine/src/gate.rs`, `a b/c.rs`, `gate.rs` and engine/x.rs"),
            ["engine/src/gate.rs"]
        );
    }
}
