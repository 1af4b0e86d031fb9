//! Files of known formats that hold no plain text, by their first bytes: documents, archives, pictures. Without zero bytes
//! at their beginning they would be taken for text in some encoding.

/// First bytes, and what the file is with what to do, as the end of a sentence.
const KNOWN: [(&[u8], &str); 16] = [
    (b"%PDF-", "is a PDF document; extract its text first, for example with pdftotext"),
    (b"%!PS-Adobe", "is a PostScript document; extract its text first, for example with ps2ascii"),
    (b"{\\rtf", "is an RTF document; save it as plain text first"),
    (
        b"PK\x03\x04",
        "is a zip archive, as .docx, .xlsx and .epub files are too; unpack it, or save it as plain text first",
    ),
    (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "is a document of Microsoft Office; save it as plain text first"),
    (b"SQLite format 3\0", "is an SQLite database; export its table first, for example as CSV"),
    (b"PAR1", "is a Parquet file; give its name the ending .parquet"),
    (b"ARROW1", "is an Arrow file, which is not read; save it as Parquet first"),
    (b"\x89PNG\r\n", PICTURE),
    (b"\xFF\xD8\xFF", PICTURE),
    (b"GIF87a", PICTURE),
    (b"GIF89a", PICTURE),
    (b"7z\xBC\xAF\x27\x1C", PACKED),
    (b"Rar!\x1A\x07", PACKED),
    (b"\xFD7zXZ\0", PACKED),
    (b"BZh91AY&SY", PACKED),
];

const PICTURE: &str = "is a picture; leave the file out of the source";
const PACKED: &str = "is packed by a program other than gzip and zstd; unpack it first";

/// What a file with this beginning is, if it is known not to be text.
pub(super) fn no_text(head: &[u8]) -> Option<&'static str> {
    KNOWN.iter().find(|(first, _)| head.starts_with(first)).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_only_resemble_a_format_are_text() {
        for text in ["PDF-", "%PDF", "PK is short for player killer", "GIF89 is a format", "BZh9", "{\\rt", ""] {
            assert_eq!(no_text(text.as_bytes()), None, "{text}");
        }
        assert!(no_text(b"%PDF-1.7\n").is_some_and(|what| what.contains("PDF")));
    }
}
