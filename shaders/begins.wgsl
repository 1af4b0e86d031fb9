// Which rows attend to which keys in rows with several texts. Import it where `begins` and `p` are bound.

// The first key to which a row of a sequence attends: `begins`, at most the row itself.
fn first_key(sequence: u32, row: u32) -> u32 {
    return min(begins[sequence * p.t + row], row);
}

#ifdef BACKWARD_KV
// One past the last row that attends to a key before `limit`. Begins do not decrease, so it is found by bisection; at
// once if even the last row attends to one, as in rows of a single text.
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
