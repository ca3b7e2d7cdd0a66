//! huxiao
