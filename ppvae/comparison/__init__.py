"""Side by side: two bounds on one program (`bounds`), or runs on the same rows (`held_out`)."""
