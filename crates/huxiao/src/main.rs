//! The program: hands its arguments to the library and gives its verdict back to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    huxiao::main(std::env::args_os())
}
