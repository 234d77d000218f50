//! A key as a QR code for a terminal: two rows of dots in a line of text, dark on light whatever the terminal's colours
//! are.

use anyhow::Result;
use pinhole::Phrase;
use qrcodegen_no_heap::{Mask, QrCode, QrCodeEcc, Version};
use zeroize::Zeroizing;

use super::message::Message;

/// Largest code: with its margins 77 columns, which fit a terminal of 80.
const LARGEST: Version = Version::new(13);

/// Light dots around the code, as many as the standard asks for (ISO/IEC 18004).
const MARGIN: i32 = 4;

const DARK_ON_LIGHT: &str = "\x1b[38;5;16;48;5;231m";
const USUAL: &str = "\x1b[0m";

/// Draws a key. What it is drawn from leaves memory.
pub(super) fn draw(phrase: &Phrase) -> Result<Zeroizing<String>> {
    let buffer = || Zeroizing::new([0; LARGEST.buffer_len()]);
    let (mut bits, mut dots) = (buffer(), buffer());
    let code = QrCode::encode_text(
        phrase.as_str(),
        bits.as_mut_slice(),
        dots.as_mut_slice(),
        QrCodeEcc::Medium,
        Version::MIN,
        LARGEST,
        None::<Mask>,
        true,
    );
    let code = code.map_err(|_| Message::KeyTooLongToDraw)?;
    let ends = code.size() + MARGIN;
    let mut text = Zeroizing::new(String::with_capacity(1 << 14));
    for y in (-MARGIN..ends).step_by(2) {
        text.push_str(DARK_ON_LIGHT);
        for x in -MARGIN..ends {
            text.push(match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        text.push_str(USUAL);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the dots of each line, a line of text having two of them.
    fn dots(drawn: &str) -> Vec<Vec<bool>> {
        let pairs = |line: &str| -> Vec<(bool, bool)> {
            let line = line.strip_prefix(DARK_ON_LIGHT).and_then(|line| line.strip_suffix(USUAL));
            let line = line.expect("each line has its colours");
            line.chars().map(|dots| ("█▀".contains(dots), "█▄".contains(dots))).collect()
        };
        let both = |line| {
            let pairs = pairs(line);
            [pairs.iter().map(|pair| pair.0).collect(), pairs.iter().map(|pair| pair.1).collect()]
        };
        drawn.lines().flat_map(both).collect()
    }

    #[test]
    fn a_camera_reads_what_was_drawn() {
        let longest: String = (1..29_u32).map(|n| format!("{:08x} ", n.wrapping_mul(0x9e37_79b9))).collect();
        for (words, rows) in [("moonlight-spotter-shush-theft-relocate-vending-affix", 22), (&*longest, 48)] {
            let phrase = Phrase::own(words).expect("a phrase");
            let drawn = draw(&phrase).expect("it fits");
            let dots = dots(&drawn);
            assert!(dots.len() / 2 <= rows && dots[0].len() <= 80, "{} x {}", dots.len(), dots[0].len());
            let (width, height) = (dots[0].len() * 4, dots.len() * 4);
            let grey = |x: usize, y: usize| if dots[y / 4][x / 4] { 0 } else { 255 };
            let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
            let read = picture.detect_grids().first().map(|grid| grid.decode().expect("readable").1);
            assert_eq!(read.as_deref(), Some(phrase.as_str()));
        }
    }
}
