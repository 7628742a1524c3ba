"""What would another part win: decoder, likelihood, prior, guide, encoder, optimization, data?"""
