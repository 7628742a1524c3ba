"""Would the model generate such data?"""
