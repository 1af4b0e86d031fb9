//! The funnel: documents that came in, those that each rule dropped, those that were kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Masked;

/// Documents and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Documents.
    pub documents: u64,
    /// Bytes of their text.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.documents += 1;
        self.bytes += bytes;
    }
}

/// One source's way through the rules. What came in is what was kept and what each rule dropped; records that
/// could not be read came in as well, with no bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funnel {
    /// Every record.
    pub documents_in: u64,
    /// Bytes of their text.
    pub bytes_in: u64,
    /// What is left.
    pub kept: Tally,
    /// What each rule dropped, under its name.
    pub dropped: BTreeMap<String, Tally>,
    /// E-mail addresses, IPv4 addresses, mobile numbers, identity numbers masked.
    pub masked: [u64; 4],
    /// Bytes of the text of the source's files, unpacked.
    pub bytes_read: u64,
}

impl Funnel {
    /// A document came in, and stays for now.
    pub fn keep(&mut self, bytes: u64, masked: Masked) {
        self.documents_in += 1;
        self.bytes_in += bytes;
        self.kept.add(bytes);
        for (sum, n) in self.masked.iter_mut().zip([masked.emails, masked.addresses, masked.phones, masked.identities])
        {
            *sum += n;
        }
    }

    /// A document came in, and was dropped at once.
    pub fn drop_new(&mut self, rule: &str, bytes: u64) {
        self.documents_in += 1;
        self.bytes_in += bytes;
        self.dropped.entry(rule.to_owned()).or_default().add(bytes);
    }

    /// A document that was kept so far is dropped after all.
    pub fn drop_kept(&mut self, rule: &str, bytes: u64) {
        self.kept.documents -= 1;
        self.kept.bytes -= bytes;
        self.dropped.entry(rule.to_owned()).or_default().add(bytes);
    }

    /// Adds another source's.
    pub fn merge(&mut self, other: &Funnel) {
        self.documents_in += other.documents_in;
        self.bytes_in += other.bytes_in;
        self.bytes_read += other.bytes_read;
        self.kept.documents += other.kept.documents;
        self.kept.bytes += other.kept.bytes;
        for (rule, tally) in &other.dropped {
            let sum = self.dropped.entry(rule.clone()).or_default();
            sum.documents += tally.documents;
            sum.bytes += tally.bytes;
        }
        for (sum, n) in self.masked.iter_mut().zip(other.masked) {
            *sum += n;
        }
    }
}
