//! The layout of a report as text: the sentence that matters, what to mend, and then the particulars.

use std::fmt::Write;

/// Width of the column of names, characters.
const NAMES: usize = 12;

/// A report for a person, laid out as text.
#[derive(Debug, Default)]
pub(super) struct Layout {
    sentence: String,
    advice: Vec<String>,
    sections: Vec<Section>,
}

#[derive(Debug)]
struct Section {
    title: String,
    lines: Vec<(String, String)>,
}

impl Layout {
    /// Begins a report with the sentence that matters.
    pub(super) fn new(sentence: String, advice: &[String]) -> Self {
        Self { sentence, advice: advice.to_vec(), sections: Vec::new() }
    }

    /// Adds a section, unless it is empty.
    pub(super) fn section(&mut self, title: impl Into<String>, lines: Vec<(String, String)>) {
        if !lines.is_empty() {
            self.sections.push(Section { title: title.into(), lines });
        }
    }

    /// Writes it all.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n", self.sentence);
        for advice in &self.advice {
            let _infallible = writeln!(text, "- {advice}");
        }
        for Section { title, lines } in &self.sections {
            let _infallible = writeln!(text, "\n{title}");
            for (name, value) in lines {
                let _infallible = writeln!(text, "  {name:<NAMES$}  {value}");
            }
        }
        text
    }
}

/// Makes a line of a section.
pub(super) fn line(name: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_leads_and_empty_sections_are_left_out() {
        let mut layout = Layout::new("All is well.".into(), &["mend this".into()]);
        layout.section("nothing", Vec::new());
        layout.section("something", vec![line("name", "value")]);
        assert_eq!(layout.text(), "All is well.\n- mend this\n\nsomething\n  name          value\n");
    }
}
