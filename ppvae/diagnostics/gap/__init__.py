"""Where is the gap between the bound and log p(x): the guide's family, or the encoder?"""
