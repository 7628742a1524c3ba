"""What are the terms of the bound, and are the latents used?"""
