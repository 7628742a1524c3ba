"""What a program reaches in Python: walked, remembered, compared and put back."""
