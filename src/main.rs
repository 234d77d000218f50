//! The program: see `pinhole --help`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
