//! The binary: everything is in `cli`.

fn main() -> std::process::ExitCode {
    danlu::cli::main()
}
