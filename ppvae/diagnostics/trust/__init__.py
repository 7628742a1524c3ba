"""Can the guide be trusted, datum by datum?"""
