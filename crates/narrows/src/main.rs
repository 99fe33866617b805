//! The program: see `narrows --help`.

mod assertion;
mod cli;
mod config;
mod demo;
mod serving;

fn main() -> std::process::ExitCode {
    cli::main()
}
