// Which rows see which keys, where several texts stand in one row. Imported where `begins` and `p` are bound.

// The first key that a row of a sequence sees: `begins`, at most the row itself.
fn first_key(sequence: u32, row: u32) -> u32 {
    return min(begins[sequence * p.t + row], row);
}

#ifdef BACKWARD_KV
// One past the last row that sees a key before `limit`. Begins do not fall, so it is found by bisection;
// where even the last row sees one, as in rows of one text, at once.
fn end_of_rows(sequence: u32, first: u32, limit: u32) -> u32 {
    var high = p.t;
    var low = select(first, high, first_key(sequence, high - 1u) < limit);
    while low < high {
        let middle = (low + high) / 2u;
        if first_key(sequence, middle) < limit {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}
#endif
