mod ends;
mod link;
mod random;
mod script;
mod transfer;
