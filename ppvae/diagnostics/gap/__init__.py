"""Does the gap between bound and log p(x) come from the guide's family or the encoder?"""
