fn main() {
    println!("cargo::rustc-cfg=own_tests");
}
