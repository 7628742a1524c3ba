"""What is in the bound, and is the latent used?"""
