//! What the end-to-end tests share. Nothing here is part of the product.

pub mod lab;
pub mod ordeal;
pub mod power;
