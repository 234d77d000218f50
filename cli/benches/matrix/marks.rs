//! Documents in which a benchmark writes its own part: what stands between two marks is replaced, all else stays.

/// Replaces what stands between `<!-- mark -->` and `<!-- /mark -->`; nothing where they are missing.
pub(crate) fn replaced(text: &str, mark: &str, section: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let (before, rest) = text.split_once(&begin)?;
    let (_old, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{section}{end}{after}"))
}
