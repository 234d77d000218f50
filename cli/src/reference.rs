//! The pages of docs/reference, which are made from the code.
//!
//! `PINHOLE_WRITE=1 cargo test --bin pinhole reference` writes them. Without the variable the same tests compare.

use std::{env, fs, path::Path};

/// Writes a page, or holds it against what is there.
pub(super) fn hold(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    if env::var_os("PINHOLE_WRITE").is_some() {
        fs::write(path, page).expect("the page can be written");
        return;
    }
    let there = fs::read_to_string(path).expect("the page is there");
    let differs = page.lines().zip(there.lines()).find(|(made, there)| made != there);
    assert!(
        page == there,
        "docs/reference/{name} is not what the code says. \
         `PINHOLE_WRITE=1 cargo test --bin pinhole reference` writes it anew. The first difference: {differs:?}"
    );
}

/// Longest line of a page's prose, characters.
const LINE: usize = 120;

/// Breaks prose into lines.
pub(super) fn wrapped(prose: &str) -> String {
    let mut text = String::new();
    let mut length = 0;
    for word in prose.split_whitespace() {
        let word_length = word.chars().count();
        if length > 0 && length + 1 + word_length > LINE {
            text.push('\n');
            length = 0;
        } else if length > 0 {
            text.push(' ');
            length += 1;
        }
        text.push_str(word);
        length += word_length;
    }
    text
}
