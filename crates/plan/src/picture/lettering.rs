//! Text in pictures: how wide it gets without asking a font, what of it fits, and how it is written inside XML.

/// About how wide text is in the fonts that are asked for, rather too much than too little.
pub fn text_width(text: &str, size: i32, bold: bool) -> i32 {
    let tenths = |c: char| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '(' | ')' | '[' | ']' | '/'
        | ' ' => 36,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 94,
        'A'..='Z' | '0'..='9' | '_' | '=' => 65,
        c if c.is_ascii() => 60,
        _ => 100,
    };
    let sum: i32 = text.chars().map(tenths).fold(0, i32::saturating_add);
    sum.saturating_mul(size) / 100 * if bold { 11 } else { 10 } / 10
}

/// As much of a text as fits.
pub fn clipped(text: &str, width: i32, size: i32, bold: bool) -> String {
    if text_width(text, size, bold) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        out.push(c);
        if text_width(&format!("{out}…"), size, bold) > width {
            out.pop();
            break;
        }
    }
    out + "…"
}

/// Text inside an element or an attribute. XML has no way to write a control character.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
