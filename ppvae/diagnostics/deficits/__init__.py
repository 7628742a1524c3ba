"""What would another decoder, likelihood, prior, guide or encoder gain, or more steps or data?"""
